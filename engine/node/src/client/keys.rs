//! API keys, asked for from outside.

use super::{Call, Client, ClientError, Effect, decode};
use crate::{
    auth::KeyId,
    wire::keys::{ApiKeyInfo, CreatedKey, KeysReply, NewKeyRequest},
};
use http::Method;
use std::fmt::Write;

const KEYS: &str = "/v1/keys";

impl Client {
    /// Makes a key. After [`ClientError::Unknown`] there may be one that nobody has.
    pub async fn create_key(&self, request: &NewKeyRequest) -> Result<CreatedKey, ClientError> {
        let call = Call::new(Method::POST, KEYS, Effect::Command);
        decode(&self.once(call.json(request)).await?)
    }

    /// A page of keys, the newest first; `cursor` is what the page before said.
    pub async fn keys(&self, cursor: Option<&str>) -> Result<KeysReply, ClientError> {
        let mut target = KEYS.to_owned();
        if let Some(cursor) = cursor {
            write!(target, "?cursor={cursor}").expect("a string takes what is written");
        }
        self.call(Call::new(Method::GET, target, Effect::Read))
            .await
    }

    /// What is told of a key.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`](crate::http::ProblemKind::NotFound) among others.
    pub async fn key(&self, id: KeyId) -> Result<ApiKeyInfo, ClientError> {
        let target = format!("{KEYS}/{id}");
        self.call(Call::new(Method::GET, target, Effect::Read))
            .await
    }

    /// Takes a key back; not an error when it was before.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`](crate::http::ProblemKind::NotFound) among others.
    pub async fn revoke_key(&self, id: KeyId) -> Result<(), ClientError> {
        // Revoking twice is revoking once, so that an unknown outcome is no reason to stop.
        let call = Call::new(Method::DELETE, format!("{KEYS}/{id}"), Effect::Read);
        self.with_retries(&call, None).await.map(|_| ())
    }
}
