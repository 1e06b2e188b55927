//! Names of trains and stations that satisfy the contract, made from those of a timetable that needn't.

use std::collections::{HashMap, HashSet};

/// Longest train id and station code, in characters.
const CHARS_MAX: usize = 32;

/// Hands out identifiers, each once.
#[derive(Debug, Default)]
pub(crate) struct Identifiers {
    taken: HashSet<String>,
}

impl Identifiers {
    /// The wanted identifier with only `[A-Za-z0-9._-]` in it; with a number behind it if it is taken.
    pub(crate) fn claim(&mut self, wanted: &str) -> String {
        let wanted = sanitise(wanted);
        let numbered = (2_u64..).map(|number| {
            let suffix = format!("-{number}");
            let kept = wanted.len().min(CHARS_MAX - suffix.len());
            format!("{}{suffix}", &wanted[..kept])
        });
        let free = std::iter::once(wanted.clone())
            .chain(numbered)
            .find(|candidate| !self.taken.contains(candidate));
        let free = free.unwrap_or(wanted);
        self.taken.insert(free.clone());
        free
    }
}

/// `[A-Za-z0-9._-]{1,32}`: other characters become `-`, Latin letters with marks lose them. Longer texts end in a hash
/// of the whole, so that names that differ only at the end stay apart.
pub(crate) fn sanitise(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.trim().chars() {
        match plain(character) {
            Some(plain) => clean.push(plain),
            None if clean.ends_with('-') => {}
            None => clean.push('-'),
        }
    }
    let clean = clean.trim_matches('-');
    match clean.len() {
        0 => format!("x{:08x}", hash(text)),
        1..=CHARS_MAX => clean.to_owned(),
        _ => format!("{}-{:08x}", &clean[..CHARS_MAX - 9], hash(text)),
    }
}

/// Counts the occurrences of each text.
pub(crate) fn counts<'a>(texts: impl Iterator<Item = &'a str>) -> HashMap<&'a str, usize> {
    let mut counts = HashMap::new();
    texts.for_each(|text| *counts.entry(text).or_default() += 1);
    counts
}

fn plain(character: char) -> Option<char> {
    const MARKED: &str = "ąćęłńóśźżĄĆĘŁŃÓŚŹŻäöüßÄÖÜéèêëàâáçñíîïôòúùûøåčřšžďťůýÉÈÀÂÁÇÑÍÎÔÚØÅČŘŠŽ";
    const PLAIN: &str = "acelnoszzACELNOSZZaousAOUeeeeaaacniiioouuuoacrszdtuyEEAAACNIIOUOACRSZ";
    match character {
        'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-' => Some(character),
        _ => MARKED
            .chars()
            .zip(PLAIN.chars())
            .find(|(marked, _)| *marked == character)
            .map(|(_, plain)| plain),
    }
}

/// FNV-1a: the same in every run.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811C_9DC5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_plain_short_and_differ() {
        assert_eq!(sanitise(" Gdańsk Główny "), "Gdansk-Glowny");
        assert_eq!(sanitise("PL:Łódź/2"), "PL-Lodz-2");
        assert_eq!(
            (sanitise("ßüøž").as_str(), sanitise("ÉŽ").as_str()),
            ("suoz", "EZ"),
            "the two lists stay in step"
        );
        let long = |end: &str| sanitise(&format!("{}{end}", "a-very-long-trip-identifier-of-".repeat(3)));
        assert_eq!(long("1").len(), CHARS_MAX);
        assert_ne!(long("1"), long("2"));
        assert_eq!(sanitise("東京").len(), 9);
    }

    #[test]
    fn what_is_taken_gets_a_number() {
        let mut identifiers = Identifiers::default();
        assert_eq!(
            ["12", "12", "1 2"].map(|wanted| identifiers.claim(wanted)),
            ["12", "12-2", "1-2"]
        );
        let long = "y".repeat(CHARS_MAX);
        assert_eq!(identifiers.claim(&long), long);
        assert_eq!(identifiers.claim(&long), format!("{}-2", "y".repeat(30)));
    }
}
