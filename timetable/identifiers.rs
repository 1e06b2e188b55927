//! Names of trains and stations that satisfy the contract, made from a timetable's ids.
//!
//! A name depends on the id alone: neither on the order of rows nor on other ids. So it stays the same in every
//! version of a
//! feed, and two ids don't share one.

/// Longest train id, in characters.
const TRAIN_CHARS_MAX: usize = 32;
/// Longest station code made here, in characters: a further visit adds `.2` or so, and the contract allows 32.
const STATION_CHARS_MAX: usize = 28;
/// Characters of the hash in a name that isn't the id itself: 40 bits.
const HASH_CHARS: usize = 8;
/// Digits of the hash; letters that are easily mistaken for others are left out.
const HASH_DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Returns the code of the station with this id.
pub(crate) fn station_code(id: &str) -> String {
    name(id, STATION_CHARS_MAX)
}

/// Returns the id of a train: of the trip's number or id and, for one of several runs, its departure.
pub(crate) fn train_id(wanted: &str, run: Option<&str>) -> String {
    match run {
        Some(run) => format!("{}.{run}", name(wanted, TRAIN_CHARS_MAX.saturating_sub(run.len() + 1))),
        None => name(wanted, TRAIN_CHARS_MAX),
    }
}

/// Returns the id itself if it has only `[A-Za-z0-9._-]` in it and is no longer than `chars_max`; else its letters
/// without
/// marks, with `-` for the other characters, and a hash of the whole id.
fn name(id: &str, chars_max: usize) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !id.is_empty() && id.len() <= chars_max && id.chars().all(is_plain) {
        return id.to_owned();
    }
    let mut clean = String::new();
    for character in id.chars() {
        match without_mark(character) {
            plain if is_plain(plain) => clean.push(plain),
            _ if clean.ends_with('-') => {}
            _ => clean.push('-'),
        }
    }
    clean.truncate(chars_max.saturating_sub(HASH_CHARS + 1));
    let clean = match clean.trim_matches('-') {
        "" => "x",
        clean => clean,
    };
    format!("{clean}-{}", hash(id))
}

fn without_mark(character: char) -> char {
    const MARKED: &str = "ąćęłńóśźżĄĆĘŁŃÓŚŹŻäöüßÄÖÜéèêëàâáçñíîïôòúùûøåčřšžďťůýÉÈÀÂÁÇÑÍÎÔÚØÅČŘŠŽ";
    const PLAIN: &str = "acelnoszzACELNOSZZaousAOUeeeeaaacniiioouuuoacrszdtuyEEAAACNIIOUOACRSZ";
    let mut pairs = MARKED.chars().zip(PLAIN.chars());
    pairs
        .find(|(marked, _)| *marked == character)
        .map_or(character, |(_, plain)| plain)
}

/// Returns a hash (FNV-1a, mixed), the same in every run.
fn hash(text: &str) -> String {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let digit = |at: usize| char::from(HASH_DIGITS[(mixed >> (59 - 5 * at)) as usize & 31]);
    (0..HASH_CHARS).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_plain_id_is_the_name() {
        assert_eq!(station_code("wsrod"), "wsrod");
        assert_eq!(train_id("N1", None), "N1");
        assert_eq!(train_id("t1", Some("0600")), "t1.0600");
    }

    #[test]
    fn other_ids_give_names_that_fit_the_contract_and_differ() {
        let mut names = HashSet::new();
        let long = "a-very-long-trip-identifier-of-".repeat(3);
        let mut ids: Vec<String> = [
            "Gdańsk Główny",
            "Gdansk Glowny",
            "PL:Łódź/2",
            "東京",
            "大阪",
            "",
            "-",
            "--",
            "ßüøž",
        ]
        .map(str::to_owned)
        .into();
        ids.extend(["1", "2"].map(|end| format!("{long}{end}")));
        ids.extend((0..5_000).map(|number| format!("駅{number}")));
        let count = ids.len();
        for id in ids {
            let name = station_code(&id);
            let fits = name.len() <= STATION_CHARS_MAX
                && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c));
            assert!(fits && !name.is_empty(), "{id} gives {name}");
            names.insert(name);
        }
        assert_eq!(names.len(), count);
        assert!(station_code("Gdańsk Główny").starts_with("Gdansk-Glowny-"));
        assert_eq!(train_id(&long, Some("1230")).len(), TRAIN_CHARS_MAX);
    }

    #[test]
    fn names_are_the_same_in_every_run() {
        assert_eq!(station_code("東京"), station_code("東京"));
        assert_eq!(station_code("de:08111:6115"), "de-08111-6115-3zy68g2m");
    }

    #[test]
    fn the_two_lists_of_letters_stay_in_step() {
        let plain: String = "ßüøžÉŽ".chars().map(without_mark).collect();
        assert_eq!(plain, "suozEZ");
    }
}
