//! Keys of the file and names of variables, and suggestions for misspelled ones.

use super::settings::{FOREIGN, Kind, SETTINGS, find};

/// Largest distance between a misspelled name and a suggestion.
const DISTANCE_MAX: usize = 4;

/// Returns the name in `known` that is probably meant.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= DISTANCE_MAX.min(wrong.len() / 2)).then_some(name)
}

/// Returns all values of a table with their paths, such as `redis.url`.
pub(crate) fn leaves(table: &toml::Table) -> Vec<(String, &toml::Value)> {
    let mut leaves = Vec::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => {
                leaves.extend(
                    self::leaves(inner)
                        .into_iter()
                        .map(|(path, value)| (format!("{name}.{path}"), value)),
                );
            }
            value => leaves.push((name.clone(), value)),
        }
    }
    leaves
}

/// Returns the setting that a path of the file belongs to: the setting itself, or the map that contains it.
pub(crate) fn setting_of(path: &str) -> Option<&'static super::Setting> {
    find(path).or_else(|| {
        let in_map = |setting: &&super::Setting| {
            setting.kind == Kind::Map && path.strip_prefix(setting.key).is_some_and(|rest| rest.starts_with('.'))
        };
        SETTINGS.iter().find(in_map)
    })
}

/// Returns the message about a key that is not a setting.
pub(crate) fn unknown_key(path: &str) -> String {
    let last = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
    let by_last_part = || {
        let wrong = path.rsplit('.').next().unwrap_or(path);
        SETTINGS
            .iter()
            .find(|setting| last(setting.key) == wrong)
            .map(|setting| setting.key)
    };
    match nearest(path, SETTINGS.iter().map(|setting| setting.key)).or_else(by_last_part) {
        Some(known) => format!("{path} is not a setting; did you mean {known}?"),
        None => format!("{path} is not a setting; `interlock config` lists them all"),
    }
}

/// Returns the message about a variable that has our prefix and is no setting; none for every other variable.
pub(crate) fn unknown_variable(name: &str, value: &str) -> Option<String> {
    let known: Vec<String> = SETTINGS.iter().map(super::Setting::variable).collect();
    let is_known = known.iter().any(|known| known == name) || FOREIGN.contains(&name);
    if !name.starts_with("INTERLOCK_") || is_known || is_of_kubernetes(name, value) {
        return None;
    }
    // A guess often lacks the section: INTERLOCK_THREADS.
    let last = name.trim_start_matches("INTERLOCK");
    let by_last_part = || known.iter().find(|known| known.ends_with(last)).map(String::as_str);
    Some(
        match by_last_part().or_else(|| nearest(name, known.iter().map(String::as_str))) {
            Some(known) => format!("the variable {name} is not a setting; did you mean {known}?"),
            None => format!("the variable {name} is not a setting; docs/configuration.md lists them all"),
        },
    )
}

/// Returns whether Kubernetes made this variable: it tells each container the addresses of services in its namespace,
/// and one whose name begins with "interlock" gives variables with our prefix.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let is_address = value.starts_with("tcp://") || value.starts_with("udp://");
    let is_of_port = |protocol: &str| {
        let parts = name
            .split_once(protocol)
            .and_then(|(head, _)| head.rsplit_once("_PORT_"));
        parts.is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && is_address)
        || is_of_port("_TCP")
        || is_of_port("_UDP")
}

/// Formats a value as it would be written in a variable.
pub(crate) fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        toml::Value::Table(table) => {
            let pairs = leaves(table)
                .into_iter()
                .map(|(name, value)| format!("{name}={}", text(value)));
            pairs.collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}
