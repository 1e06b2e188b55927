//! Addresses of services, as they may be logged.

/// Stands for a secret.
pub const MASK: &str = "••••";

/// Parts of parameter names that reveal a secret: `password`, `sslpassword`, `access_token` and so on.
const SECRETS: [&str; 4] = ["pass", "secret", "token", "credential"];

/// Parts a list of addresses. A comma parts two of them only where another scheme follows: an address may have several
/// hosts, and a password may have a comma.
pub fn split(list: &str) -> Vec<&str> {
    let mut addresses = Vec::new();
    let mut rest = list;
    let mut from = 0;
    while let Some(at) = rest[from..].find(',').map(|at| from + at) {
        if begins_with_scheme(&rest[at + 1..]) {
            addresses.push(rest[..at].trim());
            (rest, from) = (&rest[at + 1..], 0);
        } else {
            from = at + 1;
        }
    }
    addresses.push(rest.trim());
    addresses
}

/// Returns an address, or a list of them, without its passwords and other secrets.
///
/// ```
/// # use interlock_streams::address::redacted;
/// assert_eq!(redacted("redis://me:s3cret@host:6379/0"), "redis://me:••••@host:6379/0");
/// assert_eq!(redacted("postgres://me@host/sales?password=s3cret"), "postgres://me@host/sales?password=••••");
/// ```
pub fn redacted(list: &str) -> String {
    let addresses = split(list).into_iter().map(redacted_one);
    addresses.collect::<Vec<_>>().join(",")
}

/// Returns whether a text begins with a scheme and `://`.
fn begins_with_scheme(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    text.trim_start()
        .split_once("://")
        .is_some_and(|(scheme, _)| is_scheme(scheme))
}

fn redacted_one(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    // The last `@` ends the credentials: a password that was not percent-encoded may have one.
    let (credentials, server) = match rest.rsplit_once('@') {
        // Either such a password, or an `@` in a path or in a parameter.
        Some((before, _)) if before.contains(['/', '?', '#']) => return format!("{scheme}{MASK}"),
        Some((credentials, server)) => match credentials.split_once(':') {
            Some((user, _)) => (format!("{user}:{MASK}@"), server),
            None => (format!("{credentials}@"), server),
        },
        None => (String::new(), rest),
    };
    let (server, parameters) = match server.split_once('?') {
        Some((server, parameters)) => (server, Some(parameters)),
        None => (server, None),
    };
    let parameters = parameters.map(|parameters| {
        let shown: Vec<String> = parameters.split('&').map(parameter).collect();
        format!("?{}", shown.join("&"))
    });
    format!("{scheme}{credentials}{server}{}", parameters.unwrap_or_default())
}

fn parameter(parameter: &str) -> String {
    let (name, _) = parameter.split_once('=').unwrap_or((parameter, ""));
    let lower = name.to_ascii_lowercase();
    match SECRETS.iter().any(|secret| lower.contains(secret)) {
        true => format!("{name}={MASK}"),
        false => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_everything_but_secrets() {
        for (address, expected) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://me:s3cret@h:1/0", "redis://me:••••@h:1/0"),
            ("redis://:s3c@ret@h:1", "redis://:••••@h:1"),
            ("redis://:s3,cret@h:1", "redis://:••••@h:1"),
            ("redis://:s3/cret@h:1", "redis://••••"),
            ("redis://:s3?cret@h:1", "redis://••••"),
            ("me:s3cret@h", "me:••••@h"),
            ("token@h", "token@h"),
            (
                "redis+sentinel://me:s3cret@a:1,b:2/sales",
                "redis+sentinel://me:••••@a:1,b:2/sales",
            ),
            ("redis://a,redis://:s3cret@b", "redis://a,redis://:••••@b"),
            (
                "postgres://me@h/db?password=s3cret&sslmode=require",
                "postgres://me@h/db?password=••••&sslmode=require",
            ),
            ("postgres://h/db?sslPassword=s3@cret", "postgres://••••"),
        ] {
            assert_eq!(redacted(address), expected);
        }
    }

    #[test]
    fn lists_are_parted_at_addresses() {
        assert_eq!(split("redis://a:1, rediss://b"), ["redis://a:1", "rediss://b"]);
        assert_eq!(split("redis+sentinel://a,b/m"), ["redis+sentinel://a,b/m"]);
        assert_eq!(split("redis://:x,y@a"), ["redis://:x,y@a"]);
        assert_eq!(split(""), [""]);
    }
}
