//! What of a value may be shown.

use super::settings::Kind;

/// Stands for what is not shown.
pub(crate) const MASK: &str = "••••";

/// Parts of names that say that the value is a secret: librdkafka's `sasl.password`, `ssl.key.pem`,
/// `sasl.oauthbearer.client.secret` and so on.
const SECRET_WORDS: [&str; 6] = ["password", "secret", "token", "credential", ".pem", "sasl.jaas.config"];

/// Whether a librdkafka setting holds a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word)) && !name.ends_with(".location") && !name.ends_with(".url")
}

/// A value's text as it may be shown.
pub(crate) fn shown(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Secret if !text.is_empty() => MASK.to_owned(),
        Kind::Url => urls(text),
        _ => text.to_owned(),
    }
}

/// Addresses, separated by commas, without what authenticates in them.
pub(crate) fn urls(text: &str) -> String {
    text.split(',').map(url).collect::<Vec<_>>().join(",")
}

/// An address without what authenticates in them: the password before `@`, and secrets in the query.
pub(crate) fn url(url: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (url, None),
    };
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    // The last one: a password that was not percent-encoded may have an `@`.
    let rest = match rest.rsplit_once('@') {
        Some((who, host)) => match who.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{host}"),
            None => format!("{who}@{host}"),
        },
        None => rest.to_owned(),
    };
    let query = query.map(|query| {
        let parts = query.split('&').map(|part| match part.split_once('=') {
            Some((name, _)) if is_secret_name(name) => format!("{name}={MASK}"),
            _ => part.to_owned(),
        });
        format!("?{}", parts.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}{rest}{}", query.unwrap_or_default())
}

/// Whether an address, or one of several, holds a password.
pub(crate) fn has_password(text: &str) -> bool {
    urls(text) != text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_everything_but_passwords() {
        for (text, expected) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://me:s3cret@h:1/0", "redis://me:••••@h:1/0"),
            ("redis://:s3c@ret@h:1", "redis://:••••@h:1"),
            (
                "postgres://me@h/db?password=s3cret&sslmode=require",
                "postgres://me@h/db?password=••••&sslmode=require",
            ),
            ("me:s3cret@h", "me:••••@h"),
        ] {
            assert_eq!(url(text), expected);
            assert_eq!(has_password(text), expected.contains(MASK));
        }
        assert_eq!(
            shown(Kind::Url, "redis://a,redis://:s3cret@b"),
            "redis://a,redis://:••••@b"
        );
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
