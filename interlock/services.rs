//! Clients of the real services, as the configuration says.

use anyhow::Context as _;
use interlock_schemas::registry::{ConfluentRegistry, Credentials, RegistrySettings};

use crate::config::Config;

/// The schema registry; nothing is asked yet.
pub(crate) fn registry(config: &Config) -> anyhow::Result<ConfluentRegistry> {
    let settings = &config.schema_registry;
    let credentials = match (&settings.token.0, &settings.user) {
        (token, _) if !token.is_empty() => Credentials::Bearer(token.clone()),
        (_, user) if !user.is_empty() => Credentials::Basic {
            user: user.clone(),
            password: settings.password.0.clone(),
        },
        _ => Credentials::None,
    };
    let urls = settings.url.split(',').map(|url| url.trim().to_owned()).collect();
    Ok(ConfluentRegistry::new(RegistrySettings {
        urls,
        credentials,
        timeout: settings.timeout,
    })?)
}

/// Waits for a future, on a runtime of its own: commands that do one thing need no more.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("no asynchronous runtime")?.block_on(future))
}
