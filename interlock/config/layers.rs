//! Merges the layers, from the defaults up to the flags, and records the origin of each value.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use interlock_streams::address::MASK;
use serde::Serialize;

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
    /// Its value.
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
    figment: Figment,
    origins: Vec<(String, Origin)>,
}

impl Loaded {
    /// Returns a setting's value for display, and its origin.
    pub(crate) fn shown(&self, setting: &Setting) -> (String, Origin) {
        let text = self
            .figment
            .find_value(setting.key)
            .map(|value| value_text(setting.kind, &value));
        let layer = self
            .figment
            .find_metadata(setting.key)
            .map(|metadata| metadata.name.as_ref());
        // A map is merged from several layers; its origin is the topmost layer that contains any of it.
        let origin = match setting.kind {
            Kind::Map => self
                .origins
                .iter()
                .rev()
                .find(|(key, _)| key == setting.key)
                .map(|(_, origin)| origin),
            _ => self
                .origins
                .iter()
                .rev()
                .map(|(_, origin)| origin)
                .find(|origin| Some(&*origin.to_string()) == layer),
        };
        (text.unwrap_or_default(), origin.cloned().unwrap_or(Origin::Default))
    }
}

/// Reads, merges and checks all layers.
pub(crate) fn load(sources: &Sources) -> anyhow::Result<Loaded> {
    let mut stack = Stack {
        figment: Figment::new(),
        origins: Vec::new(),
    };
    for setting in SETTINGS {
        stack.put(setting, setting.default, Origin::Default)?;
    }
    stack.file(sources)?;
    let unknown = sources.variables.iter();
    let unknown = unknown.filter_map(|(name, value)| names::unknown_variable(name, value));
    let unknown: Vec<String> = unknown.collect();
    if !unknown.is_empty() {
        bail!("{}", unknown.join("; "));
    }
    let variable = |name: &str| {
        sources
            .variables
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    for setting in SETTINGS {
        let name = setting.variable();
        let names = match setting.key {
            "log.filter" => vec!["RUST_LOG".to_owned(), name],
            _ => vec![name],
        };
        for name in names {
            if let Some(value) = variable(&name) {
                stack.put(setting, value, Origin::Variable(name))?;
            }
        }
    }
    for flag in &sources.flags {
        let Some(setting) = find(&flag.key) else {
            bail!("{}: {}", flag.name, names::unknown_key(&flag.key))
        };
        refuse_secret(setting, &flag.key, &flag.value, &flag.name)?;
        stack.put(setting, &flag.value, Origin::Flag(flag.name.clone()))?;
    }
    let config: Config = stack.figment.extract().map_err(|error| describe(&error))?;
    Ok(Loaded {
        config: config.complete()?,
        figment: stack.figment,
        origins: stack.origins,
    })
}

/// The layers merged so far.
struct Stack {
    figment: Figment,
    origins: Vec<(String, Origin)>,
}

impl Stack {
    fn put(&mut self, setting: &Setting, text: &str, origin: Origin) -> anyhow::Result<()> {
        let value =
            parse(setting.kind, text).map_err(|problem| anyhow::anyhow!("{origin} ({}): {problem}", setting.key))?;
        let mut values = Dict::new();
        insert(&mut values, &setting.key.split('.').collect::<Vec<_>>(), value);
        self.merge(values, &origin);
        self.origins.push((setting.key.to_owned(), origin));
        Ok(())
    }

    fn merge(&mut self, values: Dict, origin: &Origin) {
        self.figment = std::mem::take(&mut self.figment).merge(Layer {
            name: origin.to_string(),
            values,
        });
    }

    fn file(&mut self, sources: &Sources) -> anyhow::Result<()> {
        let path = match &sources.file {
            Some(path) => path.clone(),
            None if sources.directory.join(FILE).is_file() => sources.directory.join(FILE),
            None => return Ok(()),
        };
        let name = path
            .strip_prefix(&sources.directory)
            .unwrap_or(&path)
            .display()
            .to_string();
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("the configuration file {name} can't be read"))?;
        let table: toml::Table = toml::from_str(&text).with_context(|| format!("{name} is not valid TOML"))?;
        check_file(&name, &table)?;
        let origin = Origin::File(name);
        let mut values = Dict::new();
        for (path, value) in names::leaves(&table) {
            let Some(setting) = names::setting_of(&path) else {
                continue;
            };
            let value = Value::serialize(value).with_context(|| format!("{origin}: {path}"))?;
            // Everything below a map's key is one name, dots included.
            let rest = path.strip_prefix(setting.key).and_then(|rest| rest.strip_prefix('.'));
            insert(
                &mut values,
                &setting.key.split('.').chain(rest).collect::<Vec<_>>(),
                value,
            );
            self.origins.push((setting.key.to_owned(), origin.clone()));
        }
        self.merge(values, &origin);
        Ok(())
    }
}

/// Inserts a value at a path.
fn insert(values: &mut Dict, path: &[&str], value: Value) {
    match path {
        [] => {}
        [name] => drop(values.insert((*name).to_owned(), value)),
        [name, rest @ ..] => {
            let inner = values
                .entry((*name).to_owned())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

struct Layer {
    name: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// Reports every key that is not a setting, and every secret.
fn check_file(name: &str, table: &toml::Table) -> anyhow::Result<()> {
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
            Value::from(pairs.map(pair).collect::<Result<Dict, String>>()?)
        }
    })
}

fn value_text(kind: Kind, value: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(_, text) => text.clone(),
        other => toml::Value::try_from(other)
            .map(|value| names::text(&value))
            .unwrap_or_default(),
    };
    match value {
        Value::Dict(_, pairs) => {
            let shown = pairs.iter().map(|(name, value)| match mask::is_secret_name(name) {
                true => format!("{name}={}", MASK),
                false => format!("{name}={}", text(value)),
            });
            shown.collect::<Vec<_>>().join(",")
        }
        value => mask::shown(kind, &text(value)),
    }
}

/// Formats figment's error: its place, the setting and the problem.
fn describe(error: &figment::Error) -> anyhow::Error {
    let path = error.path.join(".");
    let place = error
        .metadata
        .as_ref()
        .map_or("configuration", |metadata| metadata.name.as_ref());
    anyhow::anyhow!("{place}: {path}: {}", error.kind)
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
