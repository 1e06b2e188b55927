//! Files in another encoding, or with other separators: the message names the place, the reason and the remedy.

use super::*;

fn message(file: &str, bytes: &[u8]) -> String {
    let folder = feed(&[]);
    fs::write(folder.path().join(file), bytes).unwrap();
    let refused = gtfs(folder.path(), Some(WINDOW), &Templates::built_in().unwrap());
    refused.unwrap_err().to_string()
}

#[test]
fn utf_16_is_recognised() {
    let text = "stop_id,stop_name\nA,Aa\n";
    let units = || text.encode_utf16();
    let little: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(units().flat_map(u16::to_le_bytes))
        .collect();
    let big: Vec<u8> = [0xfe, 0xff]
        .into_iter()
        .chain(units().flat_map(u16::to_be_bytes))
        .collect();
    for bytes in [&little[..], &big[..], &little[2..]] {
        assert_eq!(
            message("stops.txt", bytes),
            "stops.txt, line 1: isn't UTF-8 (it looks like UTF-16); convert it"
        );
    }
}

#[test]
fn windows_1252_is_recognised_with_line_and_column() {
    let stops = b"stop_id,stop_name,stop_lat,stop_lon\nA,Aa,50.0,10.0\nB,M\xfcnchen,50.1,10.0\n";
    assert_eq!(
        message("stops.txt", stops),
        "stops.txt, line 3, column stop_name: isn't UTF-8 (it looks like Windows-1252); convert it"
    );
}

#[test]
fn other_separators_are_named() {
    for (separator, name) in [(";", "semicolons"), ("\t", "tabs")] {
        let stops = "stop_id,stop_name,stop_lat,stop_lon\nA,Aa,50.0,10.0\n".replace(',', separator);
        let error = message("stops.txt", stops.as_bytes());
        assert!(
            error.contains(&format!("stops.txt: its columns are separated by {name}")),
            "{error}"
        );
    }
}

#[test]
fn a_column_that_is_not_needed_may_have_any_encoding() {
    let folder = feed(&[]);
    let stops = b"stop_id,stop_desc,stop_lat,stop_lon\nA,M\xfcnchen,50.0,10.0\nB,\xff\xfe,50.1,10.0\n";
    fs::write(folder.path().join("stops.txt"), stops).unwrap();
    let seed = gtfs(folder.path(), Some(WINDOW), &Templates::built_in().unwrap()).unwrap();
    assert_eq!(seed.trains.len(), 1);
}
