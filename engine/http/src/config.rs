//! What a client may be told, with its defaults.

use crate::{mutant::Mutant, tls::TlsError};
use http::HeaderValue;
use std::{net::IpAddr, time::Duration};
use thiserror::Error;

/// The `User-Agent` of a client that is told none.
const USER_AGENT: &str = concat!("holdfast/", env!("CARGO_PKG_VERSION"));
/// What a client says it accepts when it is told nothing.
const ACCEPT: &str = "*/*";
/// The codings that are undone, as `Accept-Encoding` says them.
const ACCEPT_ENCODING: &str = "gzip, deflate, br, zstd";
/// hyper asserts that its buffer is at least this large.
const MIN_HEAD_BYTES: usize = 8 * 1024;

/// How a [`Client`](crate::Client) behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The `Accept` header of requests that have none of their own.
    pub accept: String,
    /// The `Accept-Encoding` header; empty: none is sent. Codings that are listed here and not known end in
    /// [`UnknownCoding`](crate::FetchError::UnknownCoding).
    pub accept_encoding: String,
    /// What is spoken over plain connections.
    pub plain: Plain,
    /// Which addresses may be asked.
    pub addresses: Addresses,
    /// The least time between the starts of two requests to one origin, unless the origin is given its own.
    pub gap: Duration,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How large and how many things may be.
    pub limits: Limits,
    /// A bug to plant; has an effect only where debug assertions are on.
    pub mutant: Option<Mutant>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            user_agent: USER_AGENT.to_owned(),
            accept: ACCEPT.to_owned(),
            accept_encoding: ACCEPT_ENCODING.to_owned(),
            plain: Plain::default(),
            addresses: Addresses::default(),
            gap: Duration::ZERO,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            mutant: None,
        }
    }
}

/// What is spoken over connections without TLS, where nothing is negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113, section 3.3).
    Http2,
}

/// Which addresses may be asked. Checked after resolution, at every connection, so that no name leads around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// All of them.
    #[default]
    Any,
    /// Those that the whole internet can reach: a service that fetches what strangers ask for must not be their way
    /// into its own network.
    Public,
}

impl Addresses {
    pub(crate) fn allow(self, ip: IpAddr) -> bool {
        match self {
            Addresses::Any => true,
            Addresses::Public => is_public(ip),
        }
    }
}

/// Whether the IANA special-purpose registries (RFC 6890) leave the address to the public internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_benchmark = a == 198 && (18..20).contains(&b);
            let is_protocol = a == 192 && b == 0 && c == 0;
            !(a == 0
                || a >= 240
                || ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_documentation()
                || is_shared
                || is_benchmark
                || is_protocol)
        }
        IpAddr::V6(ip) => {
            // Addresses that carry an IPv4 address lead where that one leads.
            if let Some(inner) = ip.to_ipv4_mapped() {
                return is_public(inner.into());
            }
            let s = ip.segments();
            if s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
                let [a, b] = s[6].to_be_bytes();
                let [c, d] = s[7].to_be_bytes();
                return is_public([a, b, c, d].into());
            }
            let is_documentation = (s[0] == 0x2001 && s[1] == 0xdb8) || s[0] == 0x3fff;
            let is_protocol = s[0] == 0x2001 && s[1] < 0x200;
            let is_6to4 = s[0] == 0x2002;
            // Only 2000::/3 is given out as global unicast.
            s[0] & 0xe000 == 0x2000 && !is_documentation && !is_protocol && !is_6to4
        }
    }
}

/// How long things may take, all by the host's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Waiting for an origin's turn and for a free connection: our own doing, and in no other timeout.
    pub queue: Duration,
    /// Name resolution and TCP, all addresses of a name together.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// From sending a request until its response's head is there.
    pub head: Duration,
    /// Between two pieces of a body; also how long a write may make no progress.
    pub body: Duration,
    /// A whole chain of redirects with its bodies; time in queues and at the gate is not counted.
    pub total: Duration,
    /// How long an unused connection is kept. Shorter than servers keep theirs, so that few requests meet one that
    /// was just closed.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            queue: Duration::from_secs(300),
            connect: Duration::from_secs(10),
            tls: Duration::from_secs(10),
            head: Duration::from_secs(20),
            body: Duration::from_secs(15),
            total: Duration::from_secs(60),
            idle: Duration::from_secs(20),
        }
    }
}

/// How large and how many things may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most requests to one origin at a time.
    pub max_per_origin: usize,
    /// Most requests that wait for one origin; further ones are refused as busy.
    pub max_waiting: usize,
    /// Most origins that are remembered; those that are idle and owed nothing are forgotten first.
    pub max_origins: usize,
    /// Most connections, used or not.
    pub max_connections: usize,
    /// Most unused connections that are kept.
    pub max_idle: usize,
    /// Most redirects of one chain.
    pub max_redirects: usize,
    /// Largest response head, bytes. At least 8 KiB.
    pub max_head_bytes: usize,
    /// Most fields in a response head.
    pub max_head_fields: usize,
    /// Most bytes of a body as sent.
    pub max_encoded: u64,
    /// Most bytes of a body once decoded, whatever the body policy allows.
    pub max_decoded: u64,
    /// How many times as large as sent a body may be when decoded; the first mebibyte is free.
    pub max_ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_per_origin: 6,
            max_waiting: 10_000,
            max_origins: 65_536,
            max_connections: 512,
            max_idle: 128,
            max_redirects: 10,
            // Large cookies and content policies are real; 4 and 8 KiB are what others stumble over.
            max_head_bytes: 256 * 1024,
            max_head_fields: 512,
            max_encoded: 64 << 20,
            max_decoded: 128 << 20,
            // What text reaches with the best codings stays below; a bomb of zeros is at 1,000 and more.
            max_ratio: 200,
        }
    }
}

/// What is wrong with a [`ClientConfig`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A header's value has characters that no header may have.
    #[error("`{0}` cannot be sent as a header")]
    Header(&'static str),
    /// A bound is zero where at least one is needed, or too small.
    #[error("`{name}` must be at least {least}")]
    TooSmall {
        /// The setting.
        name: &'static str,
        /// The least that it can be.
        least: usize,
    },
    /// The roots cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The headers that a client adds to requests.
#[derive(Clone, Debug)]
pub(crate) struct OwnHeaders {
    pub user_agent: HeaderValue,
    pub accept: HeaderValue,
    pub accept_encoding: Option<HeaderValue>,
}

impl ClientConfig {
    pub(crate) fn check(&self) -> Result<OwnHeaders, ConfigError> {
        let limits = &self.limits;
        for (name, value, least) in [
            ("max_per_origin", limits.max_per_origin, 1),
            ("max_waiting", limits.max_waiting, 1),
            ("max_origins", limits.max_origins, 1),
            ("max_connections", limits.max_connections, 1),
            ("max_head_bytes", limits.max_head_bytes, MIN_HEAD_BYTES),
            ("max_head_fields", limits.max_head_fields, 1),
        ] {
            if value < least {
                return Err(ConfigError::TooSmall { name, least });
            }
        }
        let header =
            |name, value: &str| HeaderValue::from_str(value).map_err(|_| ConfigError::Header(name));
        Ok(OwnHeaders {
            user_agent: header("user_agent", &self.user_agent)?,
            accept: header("accept", &self.accept)?,
            accept_encoding: match self.accept_encoding.is_empty() {
                true => None,
                false => Some(header("accept_encoding", &self.accept_encoding)?),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_setting_is_named() {
        let mut config = ClientConfig::default();
        assert!(config.check().is_ok());
        config.limits.max_head_bytes = 100;
        let error = config.check().expect_err("too small");
        assert!(error.to_string().contains("max_head_bytes"), "{error}");
        let config = ClientConfig {
            user_agent: "two\r\nlines".into(),
            ..ClientConfig::default()
        };
        assert_eq!(
            config.check().expect_err("no header"),
            ConfigError::Header("user_agent")
        );
    }

    #[track_caller]
    fn check(ip: &str, expected: bool) {
        let ip: IpAddr = ip.parse().expect("an address");
        assert_eq!(Addresses::Public.allow(ip), expected, "{ip}");
        assert!(Addresses::Any.allow(ip));
    }

    #[test]
    fn public_addresses_are_told_from_others() {
        for ip in ["8.8.8.8", "100.63.0.1", "172.32.0.1", "2606:4700::1111"] {
            check(ip, true);
        }
        for ip in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:a00:1::",
        ] {
            check(ip, false);
        }
        check("::ffff:8.8.8.8", true);
        check("64:ff9b::808:808", true);
    }
}
