//! Tests refused encodings, and the encodings of arrays that other writers choose.

use proptest::prelude::*;

use super::*;

fn read<T: Field>(datum: &[u8]) -> Result<T, Problem> {
    let mut reader = Reader::new(datum);
    let value = T::read(&mut reader, "Test.field").map_err(|e| e.problem)?;
    reader.finish("Test").map_err(|e| e.problem)?;
    Ok(value)
}

fn written<T: Field>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out);
    out
}

#[test]
fn integers_at_their_bounds() {
    for value in [
        0,
        1,
        -1,
        63,
        -64,
        64,
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        i64::MAX,
        i64::MIN,
    ] {
        assert_eq!(read(&written(&value)), Ok(value));
    }
    assert_eq!(written(&i64::MIN).len(), 10);
    assert_eq!(read::<i32>(&written(&i64::from(i32::MIN))), Ok(i32::MIN));
    assert_eq!(
        read::<i32>(&written(&2_147_483_648i64)),
        Err(Problem::IntRange { value: 2_147_483_648 })
    );
    assert_eq!(read::<i64>(&[0xff; 10]), Err(Problem::Varint));
    assert_eq!(read::<i64>(&[0x80; 11]), Err(Problem::Varint));
    assert_eq!(read::<i64>(&[0x80; 3]), Err(Problem::Truncated { needed: 4, left: 3 }));
    assert_eq!(read::<i64>(&[]), Err(Problem::Truncated { needed: 1, left: 0 }));
    assert_eq!(read::<i64>(&[2, 0, 0]), Err(Problem::Trailing { bytes: 2 }));
}

#[test]
fn booleans_and_strings() {
    assert_eq!(read::<bool>(&[1]), Ok(true));
    assert_eq!(read::<bool>(&[2]), Err(Problem::Boolean { byte: 2 }));
    assert_eq!(read::<bool>(&[]), Err(Problem::Truncated { needed: 1, left: 0 }));
    assert_eq!(read::<Text>(&[4, b'o', b'k']), Ok("ok".into()));
    assert_eq!(read::<Text>(&[3]), Err(Problem::Length { length: -2, left: 0 }));
    assert_eq!(
        read::<Text>(&[6, b'o', b'k']),
        Err(Problem::Length { length: 3, left: 2 })
    );
    assert_eq!(
        read::<Text>(&[6, b'o', b'k', 0xff]),
        Err(Problem::Utf8 { valid_up_to: 2 })
    );
    let mut absurd = written(&i64::MAX);
    absurd.push(b'x');
    assert_eq!(
        read::<Text>(&absurd),
        Err(Problem::Length {
            length: i64::MAX,
            left: 1
        })
    );
}

#[test]
fn arrays_in_any_blocks() {
    let items = Ok(vec![1, 2, 3]);
    assert_eq!(read::<Vec<i32>>(&[6, 2, 4, 6, 0]), items, "one block");
    assert_eq!(read::<Vec<i32>>(&[2, 2, 4, 4, 6, 0]), items, "two blocks");
    assert_eq!(
        read::<Vec<i32>>(&[5, 6, 2, 4, 6, 0]),
        items,
        "a block that states its size"
    );
    assert_eq!(read::<Vec<i32>>(&[3, 4, 2, 4, 2, 6, 0]), items, "both kinds");
    assert_eq!(read::<Vec<i32>>(&[0]), Ok(vec![]));
}

#[test]
fn arrays_that_lie() {
    assert_eq!(
        read::<Vec<i32>>(&[5, 4, 2, 4, 6, 0]),
        Err(Problem::BlockSize { said: 2, read: 3 })
    );
    assert_eq!(
        read::<Vec<i32>>(&[5, 40, 2, 4, 6, 0]),
        Err(Problem::Length { length: 20, left: 4 })
    );
    assert_eq!(
        read::<Vec<i32>>(&[5, 1, 2, 4, 6, 0]),
        Err(Problem::Length { length: -1, left: 4 })
    );
    assert_eq!(
        read::<Vec<i32>>(&[6, 2, 4, 6]),
        Err(Problem::Truncated { needed: 1, left: 0 })
    );
    for count in [1 << 40, i64::MAX] {
        assert_eq!(
            read::<Vec<i32>>(&written(&count)),
            Err(Problem::Length { length: count, left: 0 })
        );
    }
    let mut smallest = written(&i64::MIN);
    smallest.extend([0, 0]);
    assert_eq!(
        read::<Vec<i32>>(&smallest),
        Err(Problem::Length {
            length: i64::MIN,
            left: 1
        })
    );
}

#[test]
fn a_count_is_measured_by_the_smallest_item() {
    // Three passengers of four fields each need twelve bytes at least: nothing is allocated for them.
    let problem = read::<Vec<crate::Passenger>>(&[6, 0, 0, 0, 0, 0]);
    assert_eq!(problem, Err(Problem::Length { length: 3, left: 5 }));
    assert_eq!(
        read::<Vec<crate::Passenger>>(&[2, 0, 0, 0, 0, 0]).map(|passengers| passengers.len()),
        Ok(1)
    );
}

proptest! {
    #[test]
    fn any_integer_is_read_back(value: i64) {
        prop_assert_eq!(read(&written(&value)), Ok(value));
    }

    #[test]
    fn any_bytes_are_read_or_refused(datum in prop::collection::vec(any::<u8>(), 0..64)) {
        // A canonical encoding is the only one that is written; others may be read but never cause a panic.
        let _ = read::<i32>(&datum);
        let _ = read::<Vec<Text>>(&datum);
        let _ = read::<Vec<Vec<bool>>>(&datum);
    }
}
