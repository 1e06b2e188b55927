//! Writes the table of settings as documents: `interlock.toml` and `docs/configuration.md`.

use std::fmt::Write as _;

use crate::commands::print;

use super::settings::{Kind, SETTINGS, Setting};

/// Width of the comments.
const WIDTH: usize = 118;

/// Returns the content of `interlock.toml` in the repository: every setting with its default.
pub(crate) fn example() -> String {
    let mut text = String::from(
        "# Every setting of Interlock with its default: `interlock config --example` writes this file, a test keeps it so.\n\
         #\n\
         # Flags win over INTERLOCK_* variables, these over this file (in the working directory, or `--config FILE`), this\n\
         # file over the defaults. Durations are a whole number and a unit: ms, s, m, h or d. Secrets do not belong here:\n\
         # they come by variable, or from a file that a `..._file` setting names.\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        let (of, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if of != section {
            section = of;
            let _ = write!(text, "\n[{section}]\n");
        }
        for line in print::wrapped("", WIDTH, &sentence(setting)).lines() {
            let _ = writeln!(text, "# {line}");
        }
        let prefix = if matches!(setting.kind, Kind::Secret) { "# " } else { "" };
        let _ = writeln!(text, "{prefix}{name} = {}", toml_text(setting));
    }
    text
}

/// Returns the content of `docs/configuration.md` in the repository: the reference.
pub(crate) fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\
         \n\
         This page lists every setting. `interlock config --reference` writes it, and a test keeps it up to date.\n\
         `interlock config` prints the effective settings and the source of each.\n\
         \n\
         Flags win over variables, variables over `interlock.toml` (in the working directory, or `--config FILE`), and\n\
         that file over the defaults. A duration is a whole number and a unit: ms, s, m, h or d. Pass secrets in variables,\n\
         or in files named by the `..._file` settings.\n\
         \n\
         | setting | variable | default | unit | |\n| --- | --- | --- | --- | --- |\n",
    );
    for setting in SETTINGS {
        let Setting {
            key,
            default,
            unit,
            about,
            ..
        } = setting;
        let variable = setting.variable();
        let default = if default.is_empty() {
            String::new()
        } else {
            format!("`{default}`")
        };
        let _ = writeln!(text, "| `{key}` | `{variable}` | {default} | {unit} | {about} |");
    }
    text
}

fn sentence(setting: &Setting) -> String {
    let unit = if setting.unit.is_empty() {
        String::new()
    } else {
        format!(" [{}]", setting.unit)
    };
    format!("{}{unit} {}", setting.about, setting.variable())
}

fn toml_text(setting: &Setting) -> String {
    match setting.kind {
        Kind::Number | Kind::Switch => setting.default.to_owned(),
        Kind::List => "[]".to_owned(),
        Kind::Map => "{}".to_owned(),
        Kind::Text | Kind::Url | Kind::Secret => toml::Value::from(setting.default).to_string(),
    }
}
