use std::{collections::BTreeSet, fmt, str::FromStr};

/// What an operation asks of who wants it done: `area:verb`, or one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(&'static str);

impl Scope {
    /// To read keys and watch them.
    pub const KV_READ: Scope = Scope("kv:read");
    /// To change keys, and to forget their past.
    pub const KV_WRITE: Scope = Scope("kv:write");
    /// To read what the link checker found.
    pub const LINKS_READ: Scope = Scope("links:read");
    /// To tell the link checker what to check.
    pub const LINKS_WRITE: Scope = Scope("links:write");
    /// To find things in the BitTorrent DHT.
    pub const DHT_READ: Scope = Scope("dht:read");
    /// To store things there.
    pub const DHT_WRITE: Scope = Scope("dht:write");
    /// To see which API keys there are.
    pub const KEYS_READ: Scope = Scope("keys:read");
    /// To make API keys, with no more than one may do oneself, and to revoke any.
    pub const KEYS_WRITE: Scope = Scope("keys:write");
    /// To see how a node fares: its status and its metrics.
    pub const STATUS_READ: Scope = Scope("status:read");
    /// To order the cluster about.
    pub const ADMIN: Scope = Scope("admin");

    /// Every scope that there is.
    pub const ALL: [Scope; 10] = [
        Scope::KV_READ,
        Scope::KV_WRITE,
        Scope::LINKS_READ,
        Scope::LINKS_WRITE,
        Scope::DHT_READ,
        Scope::DHT_WRITE,
        Scope::KEYS_READ,
        Scope::KEYS_WRITE,
        Scope::STATUS_READ,
        Scope::ADMIN,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a key may be used for: one scope, or with `*` for either half many (`kv:*`, `*:read`), or `*` for everything.
///
/// A wildcard also covers scopes that later versions bring.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant(String);

/// A grant that covers nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no scope; there are {known}, wildcards such as kv:* and *:read, and * for everything",
    known = Scope::ALL.map(Scope::as_str).join(", ")
)]
pub struct UnknownScope(String);

impl Grant {
    /// Everything.
    pub fn everything() -> Grant {
        Grant("*".to_owned())
    }

    /// Whether it is enough for what asks for `scope`.
    pub fn covers(&self, scope: Scope) -> bool {
        let grant = self.0.as_str();
        if grant == "*" || grant == scope.0 {
            return true;
        }
        let halves = (grant.split_once(':'), scope.0.split_once(':'));
        match halves {
            (Some((area, "*")), Some((asked, _))) => area == asked,
            (Some(("*", verb)), Some((_, asked))) => verb == asked,
            _ => false,
        }
    }

    /// Whether it covers everything that `other` covers, and will after other scopes have come to be. So no list of
    /// scopes is as much as a wildcard, however long it is.
    pub fn includes(&self, other: &Grant) -> bool {
        if self.0 == "*" || self == other {
            return true;
        }
        match (self.0.split_once(':'), other.0.split_once(':')) {
            (Some((area, "*")), Some((other, _))) => area == other,
            (Some(("*", verb)), Some((_, other))) => verb == other,
            _ => false,
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Grant {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Grant, UnknownScope> {
        let grant = Grant(text.to_owned());
        // A misspelt scope would be a key that opens nothing, and be noticed late.
        match Scope::ALL.into_iter().any(|scope| grant.covers(scope)) {
            true => Ok(grant),
            false => Err(UnknownScope(text.chars().take(64).collect())),
        }
    }
}

/// Everything that a key may be used for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(BTreeSet<Grant>);

impl Grants {
    /// Everything.
    pub fn everything() -> Grants {
        [Grant::everything()].into_iter().collect()
    }

    /// Whether they are enough for what asks for `scope`.
    pub fn cover(&self, scope: Scope) -> bool {
        self.0.iter().any(|grant| grant.covers(scope))
    }

    /// Whether one of them [includes](Grant::includes) `grant`.
    pub fn include(&self, grant: &Grant) -> bool {
        self.0.iter().any(|one| one.includes(grant))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each, in the order of their text.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        Grants(grants.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(texts: &[&str]) -> Grants {
        let parse = |text: &&str| text.parse::<Grant>().expect("a scope");
        texts.iter().map(parse).collect()
    }

    #[test]
    fn a_grant_covers_its_scopes_and_no_other() {
        let covered = |texts: &[&str]| {
            let grants = grants(texts);
            let all = Scope::ALL.into_iter();
            let covered = all.filter(|scope| grants.cover(*scope));
            covered.map(Scope::as_str).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(covered(&[]), "");
        assert_eq!(covered(&["kv:read"]), "kv:read");
        assert_eq!(covered(&["kv:*", "admin"]), "kv:read kv:write admin");
        assert_eq!(
            covered(&["*:read"]),
            "kv:read links:read dht:read keys:read status:read"
        );
        assert_eq!(covered(&["*"]), Scope::ALL.map(Scope::as_str).join(" "));
    }

    #[test]
    fn a_grant_includes_no_more_than_it_covers() {
        let all = ["kv:read", "kv:write", "kv:*", "*:read", "admin", "*"];
        let included = |texts: &[&str]| {
            let own = grants(texts);
            let one = |text: &&&str| own.include(&text.parse().expect("a scope"));
            all.iter()
                .filter(one)
                .copied()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(included(&[]), "");
        assert_eq!(included(&["kv:read"]), "kv:read");
        assert_eq!(included(&["kv:read", "kv:write"]), "kv:read kv:write");
        assert_eq!(included(&["kv:*"]), "kv:read kv:write kv:*");
        assert_eq!(included(&["*:read", "admin"]), "kv:read *:read admin");
        assert_eq!(included(&["*"]), all.join(" "));
        // Everything that there is now is not everything that there will be.
        let every = Scope::ALL.map(Scope::as_str);
        assert_eq!(included(&every), "kv:read kv:write admin");
    }

    #[test]
    fn misspelt_scopes_are_refused() {
        for text in [
            "", "kv", "kv:", "kv:reed", "KV:read", "k*:read", "*:", "**", "admin:*", "kv:read ",
        ] {
            let error = text.parse::<Grant>().expect_err(text);
            assert!(error.to_string().contains("kv:read"), "{error}");
        }
    }
}
