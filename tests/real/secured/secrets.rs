//! Passwords and tokens that occur nowhere else, so that a search finds every place where one leaks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// All secrets of one run.
#[derive(Debug)]
pub struct Secrets {
    folder: PathBuf,
    known: Vec<(&'static str, String)>,
}

/// The owners of the secrets.
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
    /// Makes new secrets, and writes their files into a folder.
    pub(super) fn make(folder: &Path) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a secret is chosen by chance")]
        let secret = |owner: &&'static str| (*owner, format!("secret{:032x}", rand::random::<u128>()));
        let mut secrets = Self {
            folder: folder.to_owned(),
            known: OWNERS.iter().map(secret).collect(),
        };
        // The form in which it is sent.
        let basic = openssl::base64::encode_block(format!("interlock:{}", secrets.of("registry")).as_bytes());
        secrets.known.push(("registry-basic", basic));
        secrets
    }

    /// Returns the secret of an owner.
    pub fn of(&self, owner: &str) -> &str {
        let found = self.known.iter().find(|(known, _)| *known == owner);
        found.map_or("", |(_, secret)| secret)
    }

    /// Returns a file that contains a text, for example an address with a password.
    pub(super) fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder.join(name);
        // Written only once, as a process may be reading it.
        if !path.exists() {
            fs::write(&path, format!("{text}\n")).with_context(|| path.display().to_string())?;
        }
        Ok(path.display().to_string())
    }

    /// Fails if a text contains a secret.
    pub fn check_absent(&self, place: &str, text: &str) -> Result<()> {
        for (owner, secret) in &self.known {
            // Half of a secret would be a leak, too.
            if let Some(at) = text.find(&secret["secret".len()..22]) {
                let line = text[..at].lines().count().max(1);
                bail!("{place}, line {line}, shows the secret of {owner}");
            }
        }
        Ok(())
    }
}
