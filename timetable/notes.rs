//! Notes on a timetable: the rows and trips that were left out, counted and named once for each reason.

use std::collections::BTreeMap;

/// Examples in one note, at most.
const EXAMPLES_MAX: usize = 3;
/// Characters of a feed's own text in a note, at most.
const QUOTE_CHARS_MAX: usize = 40;

/// Collects notes.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    counted: BTreeMap<String, Counted>,
    plain: Vec<String>,
}

#[derive(Debug, Default)]
struct Counted {
    count: usize,
    examples: Vec<String>,
}

impl Notes {
    /// Counts one more case.
    pub(crate) fn count(&mut self, what: &str, example: &str) {
        self.count_many(what, 1, || example.to_owned());
    }

    /// Counts cases that share an example.
    pub(crate) fn count_many(&mut self, what: &str, cases: usize, example: impl FnOnce() -> String) {
        let counted = match self.counted.get_mut(what) {
            Some(counted) => counted,
            None => self.counted.entry(what.to_owned()).or_default(),
        };
        counted.count += cases;
        if counted.examples.len() < EXAMPLES_MAX {
            counted.examples.push(quote(&example()));
        }
    }

    /// Adds a note that isn't counted.
    pub(crate) fn say(&mut self, note: String) {
        self.plain.push(note);
    }

    /// Returns the notes as sentences, in a fixed order.
    pub(crate) fn into_sentences(self) -> impl Iterator<Item = String> {
        let counted = self.counted.into_iter().map(|(what, counted)| {
            let more = if counted.count > counted.examples.len() {
                ", …"
            } else {
                ""
            };
            format!("{what}: {} ({}{more})", counted.count, counted.examples.join(", "))
        });
        self.plain.into_iter().chain(counted)
    }
}

/// Returns a feed's own text as it can be printed: one line, without control characters, shortened.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(QUOTE_CHARS_MAX)
        .collect();
    if text.chars().nth(QUOTE_CHARS_MAX).is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_counted_once_and_names_three_cases() {
        let mut notes = Notes::default();
        for trip in ["t1", "t2", "t3", "t4"] {
            notes.count("trips left out, they run backwards", trip);
        }
        notes.say("the feed is old".to_owned());
        let sentences: Vec<_> = notes.into_sentences().collect();
        assert_eq!(
            sentences,
            [
                "the feed is old",
                "trips left out, they run backwards: 4 (t1, t2, t3, …)"
            ]
        );
    }

    #[test]
    fn a_quotation_is_one_short_line() {
        assert_eq!(quote("a\nb"), "a\u{fffd}b");
        assert_eq!(quote(&"x".repeat(50)), format!("{}…", "x".repeat(40)));
    }
}
