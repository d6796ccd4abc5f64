//! The JSON of API keys. Times are texts of RFC 3339.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A new key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKeyRequest {
    /// What it may be used for: scopes, or wildcards such as `kv:*`; nothing that the key that asks may not.
    pub scopes: Vec<String>,
    /// Whose it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// From when on it opens nothing; never when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// What is told of a key. The key itself cannot be: nobody knows it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyInfo {
    /// The part of the key that is no secret, and names it.
    pub id: String,
    /// Whose it is, for people.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: String,
    /// With which key it was made: its id, or `anonymous`.
    pub created_by: String,
    /// From when on it opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// A key that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedKey {
    /// What is told of it.
    #[serde(flatten)]
    pub info: ApiKeyInfo,
    /// The key. It is told here and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Why `key` is missing: an earlier request with the same `Idempotency-Key` made it, and was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Without the secret: debug output ends in logs.
impl fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedKey")
            .field("info", &self.info)
            .field("key", &self.key.as_ref().map(|_| "..."))
            .field("note", &self.note)
            .finish()
    }
}

/// A page of keys, the newest first; revoked and expired ones among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysReply {
    /// The keys.
    pub keys: Vec<ApiKeyInfo>,
    /// The cursor of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_sent_and_not_shown() {
        let created = CreatedKey {
            info: ApiKeyInfo {
                id: "000000000000".to_owned(),
                name: String::new(),
                scopes: Vec::new(),
                created_at: String::new(),
                created_by: String::new(),
                expires_at: None,
                revoked_at: None,
            },
            key: Some("the secret".to_owned()),
            note: None,
        };
        assert!(!format!("{created:?}").contains("the secret"));
        let json = serde_json::to_string(&created).expect("it encodes");
        assert!(json.contains("\"key\":\"the secret\""));
        assert_eq!(
            serde_json::from_str::<CreatedKey>(&json).ok(),
            Some(created)
        );
    }
}
