//! Asks Redis Sentinel which server is the master.
//!
//! An address is `redis+sentinel://[user:password@]host[:port][,host[:port]..]/MASTER[?parameters]`, or
//! `rediss+sentinel://..` for TLS to sentinels and servers alike. User and password are those of the servers.
//! Parameters: `db` (database number), `sentinel_username` and `sentinel_password` (for sentinels that ask for them).
//!
//! The crate `redis` has a client for Sentinel, too. It is not used: it takes neither our time-outs nor our
//! certificates, and it verifies the master's role on another connection than the one that it hands out.

use std::sync::atomic::{AtomicUsize, Ordering};

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

/// Default port of a sentinel.
const SENTINEL_PORT: u16 = 26_379;

/// The form of an address, for error messages.
const EXPECTED: &str =
    "the URL must look like redis+sentinel://[user:password@]host[:port][,host[:port]..]/MASTER[?db=0]";

/// The sentinels that watch one master, and how to connect to it.
pub(crate) struct Sentinels {
    /// The master's name, as the sentinels know it.
    master: String,
    /// The sentinels.
    addresses: Vec<ConnectionInfo>,
    /// Everything that a connection to a master needs but host and port.
    template: ConnectionInfo,
    /// Number of the sentinel that answered last, which is asked first.
    answered: AtomicUsize,
}

impl Sentinels {
    /// Parses an address; `None` if it has another scheme.
    pub(crate) fn parse(url: &str) -> Option<Result<Self, &'static str>> {
        let (scheme, rest) = url.split_once("://")?;
        match scheme {
            "redis+sentinel" => Some(Self::parse_rest("redis", rest)),
            "rediss+sentinel" => Some(Self::parse_rest("rediss", rest)),
            _ => None,
        }
    }

    fn parse_rest(scheme: &str, rest: &str) -> Result<Self, &'static str> {
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (rest, master) = rest.rsplit_once('/').ok_or(EXPECTED)?;
        let (credentials, hosts) = match rest.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), rest),
        };
        let (mut db, mut user, mut password) = ("0", "", "");
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=').ok_or(EXPECTED)? {
                ("db", value) => db = value,
                ("sentinel_username", value) => user = value,
                ("sentinel_password", value) => password = value,
                _ => {
                    return Err("the URL has an unknown parameter: there are db, sentinel_username, sentinel_password");
                }
            }
        }
        let sentinel_credentials = match (user, password) {
            ("", "") => String::new(),
            (user, password) => format!("{user}:{password}@"),
        };
        if master.is_empty() || hosts.is_empty() {
            return Err(EXPECTED);
        }
        let sentinel = |host: &str| {
            let host = host.trim();
            // The last colon is the port's, unless it is one of an IPv6 address in brackets.
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let port = if has_port {
                String::new()
            } else {
                format!(":{SENTINEL_PORT}")
            };
            connection_info(&format!("{scheme}://{sentinel_credentials}{host}{port}"))
        };
        Ok(Self {
            master: master.to_owned(),
            addresses: hosts.split(',').map(sentinel).collect::<Result<_, _>>()?,
            template: connection_info(&format!("{scheme}://{credentials}master/{db}"))?,
            answered: AtomicUsize::new(0),
        })
    }

    /// Returns the master's name.
    pub(crate) fn master(&self) -> &str {
        &self.master
    }

    /// Returns the sentinels with their numbers, the one that answered last first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (usize, &ConnectionInfo)> {
        let first = self.answered.load(Ordering::Relaxed);
        let numbered = || self.addresses.iter().enumerate();
        numbered().skip(first).chain(numbered().take(first))
    }

    /// Remembers which sentinel led to the master.
    pub(crate) fn answered(&self, number: usize) {
        self.answered.store(number, Ordering::Relaxed);
    }

    /// Returns how to connect to the master at a host and port.
    pub(crate) fn at(&self, host: String, port: u16) -> ConnectionInfo {
        let address = match self.template.addr() {
            ConnectionAddr::TcpTls {
                insecure, tls_params, ..
            } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.template.clone().set_addr(address)
    }
}

/// Replaces the parser's own error, which may repeat the URL including the password.
fn connection_info(url: &str) -> Result<ConnectionInfo, &'static str> {
    let info = url.into_connection_info().map_err(|_| EXPECTED)?;
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Sentinels, &'static str> {
        Sentinels::parse(url).expect("a Sentinel address")
    }

    fn addresses(sentinels: &Sentinels) -> Vec<String> {
        sentinels.addresses().map(|(_, info)| info.addr().to_string()).collect()
    }

    #[test]
    fn addresses_are_read() {
        assert!(Sentinels::parse("redis://h").is_none());
        let sentinels =
            parse("redis+sentinel://me:s%40cret@a:1,b,[::1],[::2]:5/sales?db=3&sentinel_password=x").unwrap();
        assert_eq!(sentinels.master(), "sales");
        // The client shows the hosts as it resolves them: an IPv6 address without its brackets.
        assert_eq!(addresses(&sentinels), ["a:1", "b:26379", "::1:26379", "::2:5"]);
        let sentinel = sentinels.addresses[0].redis_settings();
        assert_eq!((sentinel.username(), sentinel.password()), (None, Some("x")));
        let master = sentinels.at("10.0.0.7".to_owned(), 6380);
        assert_eq!(*master.addr(), ConnectionAddr::Tcp("10.0.0.7".to_owned(), 6380));
        let settings = master.redis_settings();
        assert_eq!(
            (settings.username(), settings.password(), settings.db()),
            (Some("me"), Some("s@cret"), 3)
        );
    }

    #[test]
    fn tls_is_for_sentinels_and_servers() {
        let sentinels = parse("rediss+sentinel://a/sales").unwrap();
        let master = sentinels.at("b".to_owned(), 1);
        for info in [&sentinels.addresses[0], &master] {
            assert!(
                matches!(info.addr(), ConnectionAddr::TcpTls { insecure: false, .. }),
                "{info:?}"
            );
        }
    }

    #[test]
    fn the_sentinel_that_answered_is_asked_first() {
        let sentinels = parse("redis+sentinel://a:1,b:2,c:3/sales").unwrap();
        sentinels.answered(1);
        assert_eq!(addresses(&sentinels), ["b:2", "c:3", "a:1"]);
    }

    #[test]
    fn what_is_missing_or_unknown_is_refused() {
        for url in [
            "redis+sentinel://",
            "redis+sentinel://a:1",
            "redis+sentinel://a:1/",
            "redis+sentinel:///sales",
            "redis+sentinel://a:x/sales",
            "redis+sentinel://a:1,/sales",
            "redis+sentinel://a/sales?db=x",
            "redis+sentinel://a/sales?database=1",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
