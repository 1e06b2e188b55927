//! Texts that clients send: what they may hold, and how events and sentences repeat them.

use interlock_schemas::Text;

use crate::TEXT_CHARS_MAX;

/// Returns why a text is refused, if it is: it is blank, longer than `chars_max`, or has a character that no reader
/// sees.
///
/// Characters of Unicode's category Cc and the property `Bidi_Control` are refused: databases store the former
/// differently, and the latter make a name look like another one.
pub fn text_problem(text: &str, chars_max: usize) -> Option<String> {
    if text.len() <= chars_max && is_plain(text) && !text.starts_with(' ') && !text.is_empty() {
        return None;
    }
    if text.trim().is_empty() {
        return Some("is empty".to_owned());
    }
    if is_longer(text, chars_max) {
        return Some(format!("is longer than {chars_max} characters"));
    }
    let invisible = text.chars().find(|c| is_invisible(*c))?;
    Some(format!("has the invisible character U+{:04X}", u32::from(invisible)))
}

/// Returns whether a text is visible ASCII and spaces, as nearly all are: eight bytes at a time.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    };
    let (words, _) = bytes.as_chunks();
    words.iter().all(|word| are_plain(*word)) && are_plain(*last)
}

/// Returns whether each of eight bytes lies between `' '` and `'~'`. The top bit of a byte is free to hold the answer,
/// because no such byte has it.
fn are_plain(bytes: [u8; 8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const TOP: u64 = 0x80 * EACH;
    let word = u64::from_le_bytes(bytes);
    let at_least_space = (word | TOP) - EACH * 0x20;
    let above_tilde = (word & !TOP) + EACH;
    word & TOP == 0 && at_least_space & TOP == TOP && above_tilde & TOP == 0
}

/// Returns whether a character is a control character or a control of the direction of writing.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Returns whether a text has more characters than `chars_max`.
pub(crate) fn is_longer(text: &str, chars_max: usize) -> bool {
    text.len() > chars_max && text.chars().nth(chars_max).is_some()
}

/// Cuts a client's text for a sentence.
pub(crate) fn clip(text: &str, chars_max: usize) -> &str {
    if text.len() <= chars_max {
        return text;
    }
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

/// Returns a client's text as an event repeats it: cut, and with U+FFFD for each invisible character.
pub(crate) fn repeatable(text: &Text) -> Text {
    if text.len() <= TEXT_CHARS_MAX && is_plain(text) {
        return text.clone();
    }
    let cut = clip(text, TEXT_CHARS_MAX);
    match cut.chars().any(is_invisible) {
        true => cut.replace(is_invisible, "\u{fffd}").into(),
        false if cut.len() == text.len() => text.clone(),
        false => cut.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_scripts_are_accepted() {
        for name in [
            "Ada",
            "O\u{2019}Neill-Smith",
            "सीता",
            "عائشة",
            "陳大文",
            "a\u{200d}b",
            "Zoë\u{301}",
        ] {
            assert_eq!(text_problem(name, TEXT_CHARS_MAX), None, "{name}");
        }
        assert_eq!(text_problem(&"é".repeat(32), 32), None);
    }

    #[test]
    fn blank_long_and_invisible_texts_are_refused() {
        let long = "é".repeat(33);
        for (text, problem) in [
            ("", "is empty"),
            (" \t\u{3000}", "is empty"),
            (long.as_str(), "is longer than 32 characters"),
            ("X\0Y", "has the invisible character U+0000"),
            ("a\nb", "has the invisible character U+000A"),
            ("a\u{85}b", "has the invisible character U+0085"),
            ("abc\u{202e}def", "has the invisible character U+202E"),
            ("\u{2066}a", "has the invisible character U+2066"),
        ] {
            assert_eq!(text_problem(text, 32).as_deref(), Some(problem), "{text:?}");
        }
    }

    #[test]
    fn plain_is_told_from_every_byte() {
        for length in 1..20 {
            for place in 0..length {
                for byte in 0..=0x7f {
                    let mut text = vec![b'x'; length];
                    text[place] = byte;
                    let text = String::from_utf8(text).unwrap();
                    assert_eq!(is_plain(&text), (b' '..=b'~').contains(&byte), "{text:?}");
                }
            }
        }
        assert!(is_plain("") && !is_plain("éééé") && !is_plain("x\u{85}xxxxxxx"));
    }

    #[test]
    fn events_repeat_nothing_invisible() {
        assert_eq!(repeatable(&"X\0Y\u{202e}".into()), "X\u{fffd}Y\u{fffd}");
        assert_eq!(repeatable(&"सीता".into()), "सीता");
        assert_eq!(repeatable(&"x".repeat(300).into()).len(), TEXT_CHARS_MAX);
    }
}
