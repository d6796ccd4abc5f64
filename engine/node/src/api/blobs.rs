//! Content-addressed blobs: storing them, and giving them to whoever knows their names.

use super::{
    Api, Call, Problem, ProblemKind, json_reply,
    links::{cut, paged},
    watch::Slot,
};
use crate::{
    blobs::NodeBlobs,
    http::{
        BrokenOff, Query, ReplyBody,
        conditional::{Conditions, EntityTag, Verdict},
        page::{PageRequest, Position},
    },
    wire::blobs::{BlobReply, BlobsReply},
};
use bytes::{Bytes, BytesMut};
use holdfast_blobs::{BlobId, BlobInfo, MalformedBlobId, StoreError};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Most blobs in one answer.
const MAX_LISTED: usize = 1_000;
/// How much is written to the disk, and read from it, at once.
const PIECE_BYTES: usize = 256 << 10;
/// Most pieces that wait for a slow client.
const PIECES: usize = 2;
/// How much of a body must come in the time that `limits.body_timeout` allows.
const PACE_BYTES: u64 = 1 << 20;

/// Where a page of blobs begins.
#[derive(Debug, Serialize, Deserialize)]
struct BlobPosition {
    after: [u8; 32],
}

impl Position for BlobPosition {
    const LIST: u8 = 7;
}

impl Api {
    pub(super) async fn list_blobs(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let mut query = Query::parse(call.head.uri.query())?;
        let page = PageRequest::<BlobPosition>::take(&mut query, MAX_LISTED)?;
        query.finish()?;
        let after = page.from.map(|from| BlobId(from.after));
        let mut found = self.blobs()?.blobs().list(after, page.limit + 1);
        let next = cut(&mut found, page.limit, |last| BlobPosition {
            after: last.id.0,
        });
        let reply = BlobsReply {
            blobs: found.into_iter().map(BlobReply::from).collect(),
            next: next.clone(),
        };
        Ok(paged(&call, json_reply(&reply), next.as_deref()))
    }

    pub(super) async fn put_blob(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let node = self.blobs()?;
        let limit = node.blobs().limits().blob_bytes;
        let mut upload = node.blobs().begin().await.map_err(refusal)?;
        let (began, patience) = (self.host.now(), self.limits.body_timeout);
        let mut waiting = BytesMut::new();
        let mut received = 0;
        while let Some(piece) = call.body.piece(&self.host, limit, patience).await? {
            received += piece.len() as u64;
            // Who sends a byte now and then would hold a place for as long as he likes.
            let allowed = patience.saturating_mul(1 + (received / PACE_BYTES) as u32);
            if self.host.now().since(began) > allowed {
                let detail = "the body does not arrive as fast as it must";
                return Err(Problem::new(ProblemKind::RequestTimeout, detail));
            }
            waiting.extend_from_slice(&piece);
            if waiting.len() >= PIECE_BYTES {
                let bytes = waiting.split().freeze();
                upload = upload.write(bytes).await.map_err(refusal)?;
            }
        }
        upload = upload.write(waiting.freeze()).await.map_err(refusal)?;
        let (info, _) = upload.finish().await.map_err(refusal)?;
        node.announce(info.id);
        Ok(json_reply(&BlobReply::from(info)))
    }

    pub(super) async fn get_blob(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let id = blob_id(&call)?;
        Query::parse(call.head.uri.query())?.finish()?;
        let conditions = Conditions::of(&call.head.headers)?;
        let node = self.blobs()?;
        let info = node.find(id).await.map_err(refusal)?;
        let tag = EntityTag {
            is_weak: false,
            opaque: id.to_string().into_bytes(),
        };
        let mut response = match conditions.judge(Some(&tag)) {
            Verdict::Failed => {
                let detail = "the blob is not the one that is meant";
                return Err(Problem::new(ProblemKind::PreconditionFailed, detail));
            }
            Verdict::NotModified => {
                let mut response = Response::new(ReplyBody::Full(None));
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                response
            }
            Verdict::Proceed => self.blob_part(&call, node, info, &tag)?,
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, tag.to_value());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        // Its name is its content: it never changes.
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(header::CACHE_CONTROL, forever);
        Ok(response)
    }

    /// The blob, or the part of it that is asked for.
    fn blob_part(
        &self,
        call: &Call<'_>,
        node: &NodeBlobs,
        info: BlobInfo,
        tag: &EntityTag,
    ) -> Result<Response<ReplyBody>, Problem> {
        let range = range(&call.head.headers, tag, info.bytes)?;
        let (start, end) = range.unwrap_or((0, info.bytes));
        // For HEAD nothing is ever sent through it: the length is told by the header.
        let (pieces, body) = mpsc::channel(PIECES);
        if call.head.method != Method::HEAD {
            // Who reads one takes as much of the node as who listens.
            let slot = self.watches.admit()?;
            self.send_blob(node.clone(), info.id, (start, end), pieces, slot);
        }
        let mut response = Response::new(ReplyBody::Fallible(body));
        if range.is_some() {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let told = format!("bytes {start}-{}/{}", end - 1, info.bytes);
            let told = HeaderValue::from_str(&told).expect("digits");
            response.headers_mut().insert(header::CONTENT_RANGE, told);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
        let binary = HeaderValue::from_static("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, binary);
        // What anybody may have stored is nobody's page.
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        Ok(response)
    }

    /// Sends a part of a blob to its end, or until the client takes nothing for too long.
    fn send_blob(
        &self,
        node: NodeBlobs,
        id: BlobId,
        (start, end): (u64, u64),
        pieces: mpsc::Sender<Result<Bytes, BrokenOff>>,
        slot: Slot,
    ) {
        let (host, patience) = (self.host.clone(), self.limits.write_timeout);
        drop(self.host.spawn("blob-send", async move {
            let _slot = slot;
            let mut at = start;
            while at < end {
                let length = (end - at).min(PIECE_BYTES as u64) as usize;
                let piece = node.blobs().read(id, at, length).await;
                let piece = piece.map_err(|error| {
                    tracing::warn!(blob = %id, %error, "a blob breaks off");
                    BrokenOff
                });
                let is_broken = piece.is_err();
                let sent = host.timeout(patience, pieces.send(piece)).await;
                if is_broken || !matches!(sent, Ok(Ok(()))) {
                    return;
                }
                at += length as u64;
            }
        }));
    }

    pub(super) async fn delete_blob(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let id = blob_id(&call)?;
        Query::parse(call.head.uri.query())?.finish()?;
        let node = self.blobs()?;
        if !node.remove(id).await.map_err(refusal)? {
            return Err(refusal(StoreError::NotFound(id)));
        }
        let mut response = Response::new(ReplyBody::Full(None));
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    fn blobs(&self) -> Result<&NodeBlobs, Problem> {
        self.blobs.as_ref().ok_or_else(|| {
            let detail =
                "this node has no blobs: its configuration does not say `blobs.enabled = true`";
            Problem::new(ProblemKind::NotFound, detail)
        })
    }
}

fn blob_id(call: &Call<'_>) -> Result<BlobId, Problem> {
    let id = call.path.get("id");
    let parsed = std::str::from_utf8(&id).map_err(|_| MalformedBlobId);
    let parsed = parsed.and_then(str::parse);
    parsed.map_err(|error: MalformedBlobId| Problem::bad_request(error.to_string()))
}

fn refusal(error: StoreError) -> Problem {
    let kind = match &error {
        StoreError::NotFound(_) | StoreError::Damaged(_) => ProblemKind::NotFound,
        StoreError::TooLarge(_) => ProblemKind::TooLarge,
        StoreError::Full(_) | StoreError::TooMany(_) => ProblemKind::QuotaReached,
        StoreError::Busy => ProblemKind::Overloaded,
        StoreError::Disk { .. } => {
            tracing::error!(%error, "blobs");
            ProblemKind::Internal
        }
    };
    Problem::new(kind, error.to_string())
}

/// The part that is asked for, first byte and the one after the last; `None`: all of it. Several ranges at once, and
/// units other than bytes, are not understood, and then all is given (RFC 9110, section 14.2).
fn range(headers: &HeaderMap, tag: &EntityTag, bytes: u64) -> Result<Option<(u64, u64)>, Problem> {
    // A part only of what the client has the rest of (section 13.1.5).
    if let Some(condition) = headers.get(header::IF_RANGE)
        && *condition != tag.to_value()
    {
        return Ok(None);
    }
    let value = headers.get(header::RANGE);
    let Some((first, last)) = value
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("bytes="))
        .and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than fit are more than there are bytes.
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let part = match (first, last, number(first), number(last)) {
        ("", _, _, Some(last)) => (bytes.saturating_sub(last), bytes),
        (_, "", Some(first), _) => (first, bytes),
        (_, _, Some(first), Some(last)) if first <= last => {
            (first, last.saturating_add(1).min(bytes))
        }
        _ => return Ok(None),
    };
    if part.0 >= part.1 {
        let told = HeaderValue::from_str(&format!("bytes */{bytes}")).expect("digits");
        let detail = format!("the blob has {bytes} bytes");
        return Err(Problem::new(ProblemKind::RangeNotSatisfiable, detail)
            .with_header(header::CONTENT_RANGE, told));
    }
    Ok(Some(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        let tag = EntityTag {
            is_weak: false,
            opaque: b"x".to_vec(),
        };
        let read = |text: &str, condition: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, text.parse().expect("a value"));
            if let Some(condition) = condition {
                headers.insert(header::IF_RANGE, condition.parse().expect("a value"));
            }
            range(&headers, &tag, 10).map_err(|problem| problem.kind)
        };
        let unsatisfiable = Err(ProblemKind::RangeNotSatisfiable);
        for (text, expected) in [
            ("bytes=0-0", Ok(Some((0, 1)))),
            ("bytes=3-5", Ok(Some((3, 6)))),
            ("bytes=3-", Ok(Some((3, 10)))),
            ("bytes=-3", Ok(Some((7, 10)))),
            ("bytes=-30", Ok(Some((0, 10)))),
            ("bytes=9-99999999999999999999", Ok(Some((9, 10)))),
            ("bytes=10-", unsatisfiable),
            ("bytes=10-11", unsatisfiable),
            ("bytes=-0", unsatisfiable),
            ("bytes=5-3", Ok(None)),
            ("bytes=0-1,3-4", Ok(None)),
            ("bytes=-", Ok(None)),
            ("bytes=a-b", Ok(None)),
            ("lines=0-1", Ok(None)),
        ] {
            assert_eq!(read(text, None), expected, "{text}");
        }
        assert_eq!(read("bytes=0-0", Some("\"x\"")), Ok(Some((0, 1))));
        assert_eq!(read("bytes=0-0", Some("\"y\"")), Ok(None));
    }
}
