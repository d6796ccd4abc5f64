//! Blobs of a node.

use super::{
    Call, Client, ClientError, Effect,
    content::{Content, FileContent},
    decode,
};
use crate::{
    http::percent_encode,
    wire::blobs::{BlobReply, BlobsReply},
};
use bytes::Bytes;
use holdfast_blobs::BlobId;
use http::Method;

const BLOBS: &str = "/v1/blobs";

impl Client {
    /// Stores a blob. Stored twice it is stored once, so that an unknown outcome is no reason to stop.
    pub async fn put_blob(&self, bytes: Bytes) -> Result<BlobReply, ClientError> {
        self.put_content(bytes.into()).await
    }

    /// Stores a file as a blob, which is read while it is sent; see [`put_blob`](Client::put_blob).
    pub async fn put_blob_file(&self, file: FileContent) -> Result<BlobReply, ClientError> {
        self.put_content(Content::File(file)).await
    }

    async fn put_content(&self, content: Content) -> Result<BlobReply, ClientError> {
        let mut call = Call::new(Method::PUT, BLOBS, Effect::Read);
        call.body = content;
        decode(&self.with_retries(&call, None).await?)
    }

    /// A page of the node's blobs, from a cursor on.
    pub async fn blobs(&self, cursor: Option<&str>) -> Result<BlobsReply, ClientError> {
        let query = cursor.map(|cursor| format!("?cursor={}", percent_encode(cursor.as_bytes())));
        let target = format!("{BLOBS}{}", query.unwrap_or_default());
        self.call(Call::new(Method::GET, target, Effect::Read))
            .await
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`](crate::http::ProblemKind::NotFound) when it is not there.
    pub async fn delete_blob(&self, id: BlobId) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, format!("{BLOBS}/{id}"), Effect::Command);
        self.with_retries(&call, None).await.map(|_| ())
    }
}
