//! Who may ask for what: API keys and their scopes.
//!
//! A client sends its [`ApiKey`] with every request, as `Authorization: Bearer <key>` (RFC 6750) or `X-Api-Key: <key>`.
//! The [`Authenticator`] looks the key's id up in its [`KeyStore`]s, compares hashes, and says who asks
//! ([`Identity`]); an operation then asks for its [`Scope`]. Keys travel as they are: between machines, over TLS.
//!
//! There are two kinds of keys. Those that the configuration lists ([`ConfiguredKeys`]) are taken by the nodes whose
//! configuration it is; with them a cluster can be spoken to at all, and they end with a restart without them. All others
//! are made, listed and revoked through `/v1/keys`, kept in the replicated tables ([`ReplicatedKeys`]), and taken by every
//! node. A key made so has no scope that its creator has not. It may outlive its creator: who revokes a key looks at what
//! it made (`created_by`), too.
//!
//! A revoked key is refused at once by the node that was asked to revoke it, and by every other within
//! `auth.cache_ttl` after that node has applied the command. What is under way by then goes on: a watch that the key
//! opened ends with its connection. A node that is cut off from the others learns of nothing, but can do nothing with the
//! key either than answer stale reads.
//!
//! What is not authenticated is the port on which the nodes of a cluster speak with each other.

mod scope;
mod store;

pub use holdfast_keys::{ApiKey, KeyHash, KeyId, MalformedHash, MalformedId, MalformedKey};
pub use scope::{Grant, Grants, Scope, UnknownScope};
pub use store::{CachedKeys, ConfiguredKeys, KeyStore, ReplicatedKeys, StoreError, StoredKey};

use crate::http::{Problem, ProblemKind};
use holdfast_host::Host;
use http::{HeaderMap, HeaderValue, header};
use std::{fmt, sync::Arc};

/// The header that carries a key where `Authorization` is taken by something else.
pub const API_KEY_HEADER: &str = "x-api-key";

/// Says who asks.
pub struct Authenticator {
    host: Host,
    /// Asked one after the other. `None`: nobody has to say who they are, and everybody may do everything.
    stores: Option<Vec<Arc<dyn KeyStore>>>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// Nobody said.
    Anonymous,
    /// Who has this key.
    Key(KeyId),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Anonymous => f.write_str("anonymous"),
            Actor::Key(id) => write!(f, "{id}"),
        }
    }
}

/// Who asks, and what they may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub actor: Actor,
    /// What. `None`: everything, since nobody has to say who they are.
    grants: Option<Arc<StoredKey>>,
}

impl Identity {
    /// Refuses (403) who was not granted `scope`.
    pub fn check(&self, scope: Scope) -> Result<(), Problem> {
        match &self.grants {
            Some(key) if !key.grants.cover(scope) => Err(insufficient(
                scope.as_str(),
                format!("this asks for the scope {scope}, which the key was not granted"),
            )),
            _ => Ok(()),
        }
    }

    /// Refuses (403) who may not do all that `grant` stands for, and so must not let others do it.
    pub fn check_grant(&self, grant: &Grant) -> Result<(), Problem> {
        match &self.grants {
            Some(key) if !key.grants.include(grant) => Err(insufficient(
                grant.as_str(),
                format!("a key cannot grant {grant}, which it was not granted itself"),
            )),
            _ => Ok(()),
        }
    }
}

impl Authenticator {
    /// Lets everybody do everything.
    pub fn open(host: &Host) -> Authenticator {
        Authenticator {
            host: host.clone(),
            stores: None,
        }
    }

    /// Takes keys that one of `stores` knows.
    pub fn with_stores(host: &Host, stores: Vec<Arc<dyn KeyStore>>) -> Authenticator {
        Authenticator {
            host: host.clone(),
            stores: Some(stores),
        }
    }

    /// Who asks, by the key among a request's headers.
    ///
    /// # Errors
    /// 401 when there is no key or none that is taken, 400 when there are two, 503 when a store does not answer.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Identity, Problem> {
        let Some(stores) = &self.stores else {
            return Ok(Identity {
                actor: Actor::Anonymous,
                grants: None,
            });
        };
        let key = presented(headers)?;
        for store in stores {
            let found = store
                .find(key.id())
                .await
                .map_err(|error| Problem::new(ProblemKind::Unavailable, error.to_string()))?;
            if let Some(stored) = found {
                self.check_key(&key, &stored)?;
                return Ok(Identity {
                    actor: Actor::Key(key.id()),
                    grants: Some(stored),
                });
            }
        }
        Err(invalid("no such API key"))
    }

    /// Something about a key has changed by what this node did: the next request with it is judged anew.
    pub fn forget(&self, id: KeyId) {
        for store in self.stores.iter().flatten() {
            store.forget(id);
        }
    }

    fn check_key(&self, key: &ApiKey, stored: &StoredKey) -> Result<(), Problem> {
        // Who does not have the secret is not told whether there is a key of this id.
        if !stored.hash.is_of(key) {
            return Err(invalid("no such API key"));
        }
        if stored.is_revoked {
            return Err(invalid("the API key was revoked"));
        }
        match stored.expires {
            Some(expires) if expires <= self.host.unix_time() => {
                Err(invalid("the API key has expired"))
            }
            _ => Ok(()),
        }
    }
}

/// The key that a request carries.
fn presented(headers: &HeaderMap) -> Result<ApiKey, Problem> {
    let bearer = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .map(|value| (true, value));
    let named = headers
        .get_all(API_KEY_HEADER)
        .iter()
        .map(|value| (false, value));
    let mut given = bearer.chain(named);
    let Some((is_bearer, value)) = given.next() else {
        return Err(Problem::new(
            ProblemKind::Unauthenticated,
            "this asks for an API key: send `Authorization: Bearer <key>` or `X-Api-Key: <key>`",
        )
        .with_header(
            header::WWW_AUTHENTICATE,
            challenge_value("Bearer realm=\"holdfast\""),
        ));
    };
    if given.next().is_some() {
        return Err(Problem::bad_request("give one API key, once"));
    }
    let mut text = value.to_str().unwrap_or("");
    if is_bearer {
        // The scheme is case-insensitive (RFC 9110, §11.1).
        let (scheme, credentials) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(invalid("the header Authorization must be `Bearer <key>`"));
        }
        text = credentials.trim_matches(' ');
    }
    text.parse()
        .map_err(|error: MalformedKey| invalid(error.to_string()))
}

fn insufficient(scope: &str, detail: String) -> Problem {
    let challenge =
        format!("Bearer realm=\"holdfast\", error=\"insufficient_scope\", scope=\"{scope}\"");
    Problem::new(ProblemKind::InsufficientScope, detail)
        .with("scope", scope)
        .with_header(header::WWW_AUTHENTICATE, challenge_value(&challenge))
}

fn invalid(detail: impl Into<String>) -> Problem {
    let challenge = "Bearer realm=\"holdfast\", error=\"invalid_token\"";
    Problem::new(ProblemKind::Unauthenticated, detail)
        .with_header(header::WWW_AUTHENTICATE, challenge_value(challenge))
}

fn challenge_value(challenge: &str) -> HeaderValue {
    HeaderValue::from_str(challenge).expect("challenges are ASCII")
}
