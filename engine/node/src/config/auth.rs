use super::units;
use crate::{
    auth::{
        Authenticator, CachedKeys, ConfiguredKeys, Grant, KeyHash, KeyId, KeyStore, ReplicatedKeys,
        StoredKey,
    },
    http::parse_rfc3339,
};
use holdfast_host::{Host, UnixTime};
use holdfast_tables::TablesHandle;
use serde::{Deserialize, Deserializer, de};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

/// Keys of the cluster that a node remembers without looking them up.
const CACHED_KEYS: usize = 10_000;
/// Longest `auth.cache_ttl`.
const MAX_CACHE_TTL: Duration = Duration::from_secs(600);

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSection {
    /// Whether clients must say who they are.
    pub mode: AuthMode,
    /// `[[auth.keys]]`: keys that this node takes beside those of the cluster. At least one, so that there is a way in
    /// that does not depend on what is in the tables: with it the first of the cluster's keys is made
    /// (`engine keys create`). It is best kept away, and another used day by day.
    pub keys: Vec<AuthKey>,
    /// How long a key of the cluster is taken without looking it up again: how long after this node has applied its
    /// revocation it may still be taken. 10 minutes at most.
    #[serde(deserialize_with = "units::duration")]
    pub cache_ttl: Duration,
}

impl Default for AuthSection {
    fn default() -> Self {
        AuthSection {
            mode: AuthMode::default(),
            keys: Vec::new(),
            cache_ttl: Duration::from_secs(5),
        }
    }
}

/// Whether clients must say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// They need not, and may do everything.
    #[default]
    None,
    /// They send an API key.
    Keys,
}

/// `[[auth.keys]]`: what `engine keys new` prints.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthKey {
    /// The key's id, the part between `hf_` and the secret.
    pub id: KeyId,
    /// The hash of the key.
    pub hash: KeyHash,
    /// What it may be used for.
    #[serde(deserialize_with = "grants")]
    pub scopes: BTreeSet<Grant>,
    /// From when on it opens nothing, such as `2027-01-01T00:00:00Z`.
    #[serde(default, deserialize_with = "expiry")]
    pub expires: Option<UnixTime>,
    /// Whose it is, for people; nothing is done with it.
    #[serde(default)]
    pub name: String,
}

fn grants<'de, D: Deserializer<'de>>(de: D) -> Result<BTreeSet<Grant>, D::Error> {
    let texts = Vec::<String>::deserialize(de)?;
    let grants = texts
        .iter()
        .map(|text| text.parse().map_err(de::Error::custom));
    grants.collect()
}

fn expiry<'de, D: Deserializer<'de>>(de: D) -> Result<Option<UnixTime>, D::Error> {
    let text = String::deserialize(de)?;
    let time = parse_rfc3339(&text).ok_or_else(|| {
        de::Error::custom(format!(
            "`{text}` is no time: write it as in 2027-01-01T00:00:00Z"
        ))
    })?;
    Ok(Some(time))
}

impl AuthSection {
    /// Whether clients are authenticated.
    pub fn is_on(&self) -> bool {
        self.mode == AuthMode::Keys
    }

    /// What authenticates clients as this says: by the keys listed here, and by those that the cluster keeps in its
    /// tables.
    pub fn authenticator(&self, host: &Host, tables: &TablesHandle) -> Authenticator {
        if !self.is_on() {
            return Authenticator::open(host);
        }
        let keys = self.keys.iter().map(|key| {
            let stored = StoredKey {
                hash: key.hash.clone(),
                grants: key.scopes.iter().cloned().collect(),
                expires: key.expires,
                is_revoked: false,
            };
            (key.id, stored)
        });
        let replicated = ReplicatedKeys::new(tables.clone());
        let stores: [Arc<dyn KeyStore>; 2] = [
            Arc::new(keys.collect::<ConfiguredKeys>()),
            Arc::new(CachedKeys::new(
                host,
                replicated,
                self.cache_ttl,
                CACHED_KEYS,
            )),
        ];
        Authenticator::with_stores(host, stores.into())
    }

    pub(super) fn fault(&self) -> Option<String> {
        if !self.is_on() && !self.keys.is_empty() {
            return Some(
                "auth.keys lists keys, but auth.mode is none: nobody would be asked for one".into(),
            );
        }
        if self.is_on() && self.keys.is_empty() {
            return Some(
                "auth.mode is keys, but auth.keys lists none: nobody could make the first of the cluster. Make one with \
                 `engine keys new` and put what it prints into the configuration"
                    .into(),
            );
        }
        if self.cache_ttl > MAX_CACHE_TTL {
            return Some(
                "auth.cache_ttl must be at most 10m: so long a revoked key may be taken".into(),
            );
        }
        let mut ids = BTreeSet::new();
        self.keys.iter().find_map(|key| {
            if key.scopes.is_empty() {
                return Some(format!(
                    "auth.keys: the key {} has no scopes, and opens nothing",
                    key.id
                ));
            }
            (!ids.insert(key.id)).then(|| format!("auth.keys lists the key {} twice", key.id))
        })
    }
}

/// `[audit]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSection {
    /// Log a line, of the target `audit`, for every change that is asked for, also in vain. When nothing is said: where
    /// clients are authenticated, since a line that knows nobody is worth little and costs as much.
    pub log: Option<bool>,
}

/// `[tls]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSection {
    /// A PEM file with the node's certificate, and behind it those that lead to a root. With it and `key`, clients
    /// connect by TLS, and in no other way. Read at the start.
    pub cert: Option<PathBuf>,
    /// A PEM file with the certificate's private key.
    pub key: Option<PathBuf>,
}

impl TlsSection {
    /// Whether clients connect by TLS.
    pub fn is_on(&self) -> bool {
        self.cert.is_some()
    }

    pub(super) fn fault(&self) -> Option<String> {
        match (&self.cert, &self.key) {
            (Some(_), None) => Some("tls.cert needs tls.key, the certificate's private key".into()),
            (None, Some(_)) => Some("tls.key needs tls.cert, the key's certificate".into()),
            _ => None,
        }
    }
}
