//! Merges the layers, from the defaults up to the flags, and records the origin of each value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use interlock_streams::address::MASK;
use serde::Serialize;
use toml::{Table, Value};

use super::settings::{Kind, SETTINGS, Setting, find};
use super::{Config, mask, names};

/// Name of the file in the working directory.
const FILE: &str = "interlock.toml";

/// A setting on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    /// The flag, as typed: `--threads`.
    pub(crate) name: String,
    /// The setting.
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The sources of settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The given file; otherwise `interlock.toml` in `directory`, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// The environment.
    pub(crate) variables: Vec<(String, String)>,
    /// The command line; later ones win.
    pub(crate) flags: Vec<Flag>,
}

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "from", content = "name", rename_all = "lowercase")]
pub(crate) enum Origin {
    /// The default.
    Default,
    /// A file.
    File(String),
    /// A variable of the environment.
    Variable(String),
    /// A flag on the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(name) => write!(f, "file {name}"),
            Origin::Variable(name) => write!(f, "variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The configuration and its origins.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The settings.
    pub(crate) config: Config,
    merged: Merged,
}

impl Loaded {
    /// Returns a setting's value for display, and its origin.
    pub(crate) fn shown(&self, setting: &Setting) -> (String, Origin) {
        self.merged.0.get(setting.key).map_or_else(
            || (String::new(), Origin::Default),
            |(value, origin)| (value_text(setting.kind, value), origin.clone()),
        )
    }
}

/// Reads, merges and checks all layers.
pub(crate) fn load(sources: &Sources) -> anyhow::Result<Loaded> {
    let mut merged = Merged::default();
    for setting in SETTINGS {
        merged.put_text(setting, setting.default, Origin::Default)?;
    }
    merged.put_file(sources)?;
    let unknown = sources.variables.iter();
    let unknown = unknown.filter_map(|(name, value)| names::unknown_variable(name, value));
    let unknown: Vec<String> = unknown.collect();
    if !unknown.is_empty() {
        bail!("{}", unknown.join("; "));
    }
    for setting in SETTINGS {
        let ours = setting.variable();
        let others: &[&str] = if setting.key == "log.filter" {
            &["RUST_LOG"]
        } else {
            &[]
        };
        for name in others.iter().copied().chain([ours.as_str()]) {
            if let Some((_, value)) = sources.variables.iter().find(|(known, _)| known == name) {
                merged.put_text(setting, value, Origin::Variable(name.to_owned()))?;
            }
        }
    }
    for flag in &sources.flags {
        let Some(setting) = find(&flag.key) else {
            bail!("{}: {}", flag.name, names::unknown_key(&flag.key))
        };
        refuse_secret(setting, &flag.key, &flag.value, &flag.name)?;
        merged.put_text(setting, &flag.value, Origin::Flag(flag.name.clone()))?;
    }
    Ok(Loaded {
        config: merged.config()?.complete()?,
        merged,
    })
}

/// The value of each setting in the topmost layer that has one, and its origin. A map has the names of all layers; its
/// origin is the topmost layer that contains any of it.
#[derive(Debug, Default)]
struct Merged(BTreeMap<&'static str, (Value, Origin)>);

impl Merged {
    fn put(&mut self, setting: &'static Setting, value: Value, origin: Origin) {
        let value = match (self.0.remove(setting.key), value) {
            (Some((Value::Table(mut below), _)), Value::Table(above)) => {
                below.extend(above);
                Value::Table(below)
            }
            (_, value) => value,
        };
        self.0.insert(setting.key, (value, origin));
    }

    fn put_text(&mut self, setting: &'static Setting, text: &str, origin: Origin) -> anyhow::Result<()> {
        let value = parse(setting.kind, text).map_err(|problem| anyhow!("{origin} ({}): {problem}", setting.key))?;
        self.put(setting, value, origin);
        Ok(())
    }

    fn put_file(&mut self, sources: &Sources) -> anyhow::Result<()> {
        let path = match &sources.file {
            Some(path) => path.clone(),
            None if sources.directory.join(FILE).is_file() => sources.directory.join(FILE),
            None => return Ok(()),
        };
        let name = path.strip_prefix(&sources.directory).unwrap_or(&path);
        let name = name.display().to_string();
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| format!("the configuration file {name} can't be read"))?;
        let table: Table = toml::from_str(&text).with_context(|| format!("{name} is not valid TOML"))?;
        check_file(&name, &table)?;
        let origin = Origin::File(name);
        for (path, value) in names::leaves(&table) {
            let Some(setting) = names::setting_of(&path) else {
                continue;
            };
            // Everything below a map's key is one name, dots included.
            let below = path.strip_prefix(setting.key).and_then(|rest| rest.strip_prefix('.'));
            let value = match below {
                Some(name) => Value::Table(Table::from_iter([(name.to_owned(), value.clone())])),
                None => value.clone(),
            };
            self.put(setting, value, origin.clone());
        }
        Ok(())
    }

    /// Returns the settings by their types; an error names the origin of the value.
    fn config(&self) -> anyhow::Result<Config> {
        let mut sections = Table::new();
        for (key, (value, _)) in &self.0 {
            let (section, name) = key.split_once('.').unwrap_or((key, ""));
            let section = sections.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(name.to_owned(), value.clone());
            }
        }
        serde_path_to_error::deserialize(Value::Table(sections)).map_err(|error| {
            let path = error.path().to_string();
            let setting = names::setting_of(&path).and_then(|setting| self.0.get(setting.key));
            let origin = setting.map_or(&Origin::Default, |(_, origin)| origin);
            anyhow!("{origin}: {path}: {}", error.inner().message())
        })
    }
}

/// Reports every key that is not a setting, and every secret.
fn check_file(name: &str, table: &Table) -> anyhow::Result<()> {
    let mut unknown = Vec::new();
    for (path, value) in names::leaves(table) {
        match names::setting_of(&path) {
            Some(setting) => refuse_secret(setting, &path, &names::text(value), name)?,
            None => unknown.push(names::unknown_key(&path)),
        }
    }
    if unknown.is_empty() {
        Ok(())
    } else {
        bail!("{name}: {}", unknown.join("; "))
    }
}

/// Refuses secrets in places that others can read: the file is often checked in, and every user of the machine can read
/// a command line.
fn refuse_secret(setting: &Setting, path: &str, value: &str, place: &str) -> anyhow::Result<()> {
    let is_secret = match setting.kind {
        Kind::Secret => !value.is_empty(),
        Kind::Url => mask::has_secret(value),
        // In the file, the path lies below the map's; on the command line, the value consists of pairs.
        Kind::Map if path == setting.key => value
            .split(',')
            .any(|pair| mask::is_secret_name(pair.split('=').next().unwrap_or_default())),
        Kind::Map => mask::is_secret_name(path),
        _ => false,
    };
    let file = find(&format!("{}_file", setting.key))
        .map(|file| format!(" or by {}", file.key))
        .unwrap_or_default();
    if is_secret {
        bail!(
            "{place}: {path} holds a secret; give it by the variable {}{file}",
            setting.variable()
        );
    }
    Ok(())
}

/// Parses the text of a variable or flag as a value.
fn parse(kind: Kind, text: &str) -> Result<Value, String> {
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    Ok(match kind {
        Kind::Text | Kind::Url | Kind::Secret => Value::from(text),
        Kind::Number => Value::from(
            text.trim()
                .parse::<i64>()
                .map_err(|_| format!("`{text}` is not a whole number"))?,
        ),
        Kind::Switch => match text.trim() {
            "true" | "1" | "yes" | "on" => Value::from(true),
            "false" | "0" | "no" | "off" => Value::from(false),
            _ => return Err(format!("`{text}` is neither true nor false")),
        },
        Kind::List => Value::from(parts().map(Value::from).collect::<Vec<_>>()),
        Kind::Map => {
            let pairs = parts().map(|part| part.split_once('=').ok_or(part));
            let pair = |pair: Result<(&str, &str), &str>| match pair {
                Ok((name, value)) => Ok((name.trim().to_owned(), Value::from(value.trim()))),
                // The message does not quote the part, which may be half of a password.
                Err(_) => Err("expected name=value, separated by commas".to_owned()),
            };
            Value::from(pairs.map(pair).collect::<Result<Table, String>>()?)
        }
    })
}

fn value_text(kind: Kind, value: &Value) -> String {
    let Value::Table(pairs) = value else {
        return mask::shown(kind, &names::text(value));
    };
    let shown = pairs.iter().map(|(name, value)| match mask::is_secret_name(name) {
        true => format!("{name}={MASK}"),
        false => format!("{name}={}", names::text(value)),
    });
    shown.collect::<Vec<_>>().join(",")
}

/// Returns the environment of this process, without values that are not text.
pub(crate) fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Returns the working directory. If it no longer exists, nothing is read from it.
pub(crate) fn directory() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| Path::new("").to_owned())
}
