//! Settings of the ledger store: the servers, time-outs and names.

use std::fmt;
use std::time::Duration;

use interlock_streams::address::redacted;
use interlock_streams::ledger::LedgerError;
use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::error::unfit;
use crate::sentinel::Sentinels;

/// Default time-out of a call: longer than the pause of a fail-over, shorter than a poll.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Default time-out for establishing a connection.
pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Default first part of all keys.
pub const NAMESPACE: &str = "il";

/// The forms of URLs, for error messages.
const URLS: &str = "the URL is none of redis://host:port, rediss://host:port, redis+unix:///path, \
                    redis+sentinel://host:port,host:port/master";

/// The kind of servers behind the URLs.
pub(crate) enum Target {
    /// One server.
    Single(ConnectionInfo),
    /// The master named by sentinels.
    Sentinel(Sentinels),
    /// Some nodes of a cluster.
    Cluster(Vec<ConnectionInfo>),
}

/// Settings of a ledger store in Redis.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port]`, `rediss://..` (TLS), `redis+unix:///path` or, for a master that Sentinel
    /// watches, `redis+sentinel://[user:password@]host[:port],host[:port]../MASTER` (`rediss+sentinel://..` for TLS).
    /// One for a single server or a master; for a cluster some of its nodes, the others are found by asking these.
    pub urls: Vec<String>,
    /// True if the URLs lead to a Redis Cluster.
    pub cluster: bool,
    /// First part of all keys (letters, digits, `-`, `_`, `.`): several installations can share a server.
    pub namespace: String,
    /// Name of the application. A ledger of another application is refused.
    pub application: String,
    /// Time-out of a call.
    pub response_timeout: Duration,
    /// Time-out for establishing a connection.
    pub connection_timeout: Duration,
    /// Trusted certificates in PEM, instead of those of the system. Only for a single server: for a cluster, the client
    /// library knows only the system's certificates.
    pub ca: Option<Vec<u8>>,
}

impl RedisConfig {
    /// Creates settings for a single server, with defaults for the rest.
    pub fn new(url: impl Into<String>, application: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            cluster: false,
            namespace: NAMESPACE.to_owned(),
            application: application.into(),
            response_timeout: RESPONSE_TIMEOUT,
            connection_timeout: CONNECTION_TIMEOUT,
            ca: None,
        }
    }

    /// Creates settings for a cluster, with defaults for the rest.
    pub fn cluster(urls: impl IntoIterator<Item = String>, application: impl Into<String>) -> Self {
        Self {
            urls: urls.into_iter().collect(),
            cluster: true,
            ..Self::new("", application)
        }
    }

    /// Returns the servers for display, without passwords.
    pub(crate) fn servers(&self) -> String {
        self.urls.iter().map(|url| redacted(url)).collect::<Vec<_>>().join(", ")
    }

    /// Checks the settings and parses the URLs.
    pub(crate) fn parse(&self) -> Result<Target, LedgerError> {
        if self.urls.is_empty() || (!self.cluster && self.urls.len() > 1) {
            return Err(self.wrong("a single server has one URL, a cluster at least one; set `cluster` for the latter"));
        }
        // A brace would change the hash tag, and with it the slot.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.namespace.is_empty() || !self.namespace.chars().all(plain) {
            return Err(self.wrong("`namespace` must be letters, digits, `-`, `_` and `.`"));
        }
        if self.application.is_empty() {
            return Err(self.wrong("`application` must not be empty: it tells whose ledgers these are"));
        }
        if self.ca.is_some() && self.cluster {
            return Err(self.wrong(
                "`ca_file` is for a single server: name the certificates for a cluster by the variable SSL_CERT_FILE",
            ));
        }
        let has_certificate = |pem: &[u8]| String::from_utf8_lossy(pem).contains("-----BEGIN CERTIFICATE-----");
        if self.ca.as_deref().is_some_and(|pem| !has_certificate(pem)) {
            return Err(self.wrong("`ca_file` holds no certificate in PEM"));
        }
        let is_tls = |url: &String| url.starts_with("rediss://") || url.starts_with("rediss+sentinel://");
        if self.ca.is_some() && !self.urls.iter().all(is_tls) {
            return Err(self.wrong("`ca_file` is for TLS: the URL must begin with rediss:// or rediss+sentinel://"));
        }
        let sentinels = self.urls.first().and_then(|url| Sentinels::parse(url));
        match (sentinels, self.cluster) {
            (None, true) => {
                let nodes = self.urls.iter().map(|url| self.parse_url(url));
                Ok(Target::Cluster(nodes.collect::<Result<_, _>>()?))
            }
            (None, false) => Ok(Target::Single(self.parse_url(&self.urls[0])?)),
            (Some(_), true) => {
                Err(self.wrong("Sentinel watches single servers: unset `cluster`, or name the cluster's nodes"))
            }
            (Some(sentinels), false) => Ok(Target::Sentinel(sentinels.map_err(|reason| self.wrong(reason))?)),
        }
    }

    fn parse_url(&self, url: &str) -> Result<ConnectionInfo, LedgerError> {
        // The parser's error may repeat the URL, including the password.
        let info = url.into_connection_info().map_err(|_| self.wrong(URLS))?;
        // Otherwise the last segment of a request would wait for the acknowledgement of the preceding one.
        Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
    }

    fn wrong(&self, reason: &str) -> LedgerError {
        unfit(&self.servers(), reason)
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("servers", &self.servers())
            .field("cluster", &self.cluster)
            .field("namespace", &self.namespace)
            .field("application", &self.application)
            .field("response_timeout", &self.response_timeout)
            .field("connection_timeout", &self.connection_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_and_errors_show_no_password() {
        for url in [
            "redis://me:s3cret@h:1/0?pass=s3cret",
            "redis://:s3cret@@h:1",
            "rediss://me:s3c:ret@h",
            "me:s3cret@h",
        ] {
            let config = RedisConfig::new(url, "app");
            let wrong = RedisConfig {
                namespace: "{}".to_owned(),
                ..config.clone()
            };
            let shown = format!("{config:?} {:?} {:?}", config.parse().err(), wrong.parse().err());
            assert!(!shown.contains("s3c") && shown.contains('h'), "{shown}");
        }
    }

    #[test]
    fn settings_are_checked() {
        let good = RedisConfig::new("redis://h", "app");
        assert!(good.parse().is_ok());
        for namespace in ["", "a b", "a{b", "a}", "a:b"] {
            assert!(
                RedisConfig {
                    namespace: namespace.to_owned(),
                    ..good.clone()
                }
                .parse()
                .is_err(),
                "{namespace}"
            );
        }
        assert!(
            RedisConfig {
                application: String::new(),
                ..good.clone()
            }
            .parse()
            .is_err()
        );
        assert!(
            RedisConfig {
                urls: Vec::new(),
                ..good.clone()
            }
            .parse()
            .is_err()
        );
        let two = vec!["redis://a".to_owned(), "redis://b".to_owned()];
        assert!(
            RedisConfig {
                urls: two.clone(),
                ..good.clone()
            }
            .parse()
            .is_err()
        );
        let with_ca = |url: &str, cluster: bool, ca: &[u8]| RedisConfig {
            urls: vec![url.to_owned()],
            cluster,
            ca: Some(ca.to_owned()),
            ..good.clone()
        };
        let pem = b"-----BEGIN CERTIFICATE-----";
        assert!(with_ca("rediss://h", false, pem).parse().is_ok());
        assert!(with_ca("rediss://h", false, b"none").parse().is_err());
        assert!(with_ca("rediss://h", true, pem).parse().is_err());
        assert!(with_ca("redis://h", false, pem).parse().is_err());
        let nodes = |config: RedisConfig| match config.parse() {
            Ok(Target::Cluster(nodes)) => nodes.len(),
            _ => 0,
        };
        assert_eq!(nodes(RedisConfig::cluster(two, "app")), 2);
        let sentinel = "redis+sentinel://a,b/sales";
        assert!(matches!(
            RedisConfig::new(sentinel, "app").parse(),
            Ok(Target::Sentinel(_))
        ));
        assert!(RedisConfig::cluster([sentinel.to_owned()], "app").parse().is_err());
        assert!(with_ca("rediss+sentinel://a,b/sales", false, pem).parse().is_ok());
        assert!(with_ca(sentinel, false, pem).parse().is_err());
    }
}
