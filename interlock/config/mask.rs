//! Hides secrets in printed values.

use interlock_streams::address::{MASK, redacted};

use super::settings::Kind;

/// Parts of names of secret settings: librdkafka's `sasl.password`, `ssl.key.pem`, `sasl.oauthbearer.client.secret` and
/// so on.
const SECRET_WORDS: [&str; 6] = ["password", "secret", "token", "credential", ".pem", "sasl.jaas.config"];

/// Returns whether a librdkafka setting holds a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word)) && !name.ends_with(".location") && !name.ends_with(".url")
}

/// Returns a value's text for display.
pub(crate) fn shown(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Secret if !text.is_empty() => MASK.to_owned(),
        Kind::Url => redacted(text),
        _ => text.to_owned(),
    }
}

/// Returns whether an address, or one of several, holds a password or another secret.
pub(crate) fn has_secret(addresses: &str) -> bool {
    redacted(addresses) != addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        assert_eq!(
            shown(Kind::Url, "redis://a,redis://:s3cret@b"),
            "redis://a,redis://:••••@b"
        );
        assert!(has_secret("redis://a,redis://:s3cret@b") && !has_secret("redis://a,redis://b"));
        assert_eq!(shown(Kind::Secret, "s3cret"), MASK);
        assert_eq!(shown(Kind::Secret, ""), "");
    }

    #[test]
    fn secret_settings_of_librdkafka_are_known_by_name() {
        for name in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "security.protocol",
            "sasl.username",
            "ssl.ca.location",
            "sasl.oauthbearer.token.endpoint.url",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
