//! Passwords and tokens that occur nowhere else, so that a search finds every place where one is told.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Every secret of one run.
#[derive(Debug)]
pub struct Secrets {
    folder: PathBuf,
    known: Vec<(&'static str, String)>,
}

/// Whose they are.
const OWNERS: [&str; 9] = [
    "kafka-deployer",
    "kafka-worker",
    "kafka-stranger",
    "redis",
    "redis-administrator",
    "database-owner",
    "database-worker",
    "registry",
    "registry-token",
];

impl Secrets {
    /// New ones; the files that hold them go to a folder.
    pub(super) fn make(folder: &Path) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a secret is chosen by chance")]
        let secret = |owner: &&'static str| (*owner, format!("secret{:032x}", rand::random::<u128>()));
        let mut secrets = Self {
            folder: folder.to_owned(),
            known: OWNERS.iter().map(secret).collect(),
        };
        // As it goes over the wire.
        let basic = openssl::base64::encode_block(format!("interlock:{}", secrets.of("registry")).as_bytes());
        secrets.known.push(("registry-basic", basic));
        secrets
    }

    /// One of them.
    pub fn of(&self, owner: &str) -> &str {
        let found = self.known.iter().find(|(known, _)| *known == owner);
        found.map_or("", |(_, secret)| secret)
    }

    /// A file that holds a text, such as an address with a password.
    pub(super) fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder.join(name);
        // Once: somebody may be reading it.
        if !path.exists() {
            fs::write(&path, format!("{text}\n")).with_context(|| path.display().to_string())?;
        }
        Ok(path.display().to_string())
    }

    /// Fails where a text tells one.
    pub fn check_absent(&self, place: &str, text: &str) -> Result<()> {
        for (owner, secret) in &self.known {
            // Half of one would be too much, too.
            if let Some(at) = text.find(&secret["secret".len()..22]) {
                let line = text[..at].lines().count().max(1);
                bail!("{place}, line {line}, tells the secret of {owner}");
            }
        }
        Ok(())
    }
}
