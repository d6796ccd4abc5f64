use super::ReplyBody;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

const TYPE_PREFIX: &str = "urn:holdfast:problem:";

/// What kind of refusal a [`Problem`] is; the last part of its `type` URN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// The request is not one: 400.
    BadRequest,
    /// It is not said, or not proved, who asks: 401.
    Unauthenticated,
    /// Who asks may not: 403.
    InsufficientScope,
    /// Who asks has asked too often lately: 429.
    RateLimited,
    /// The cursor is none of this list's: 400.
    InvalidCursor,
    /// There is no `Idempotency-Key`: 400.
    IdempotencyKeyMissing,
    /// The `Idempotency-Key` was another request's; this one was not carried out: 422.
    IdempotencyKeyReused,
    /// The request of this `Idempotency-Key` is being carried out: 409.
    IdempotencyInProgress,
    /// The request must say which version it means to change: 428.
    PreconditionRequired,
    /// Nothing lives at this path: 404.
    UnknownRoute,
    /// A web page of another origin asks: 403.
    ForeignOrigin,
    /// There is nothing of this name: 404.
    NotFound,
    /// It is in a status in which this cannot be done: 409.
    WrongStatus,
    /// So many are kept, and no more: 409.
    QuotaReached,
    /// None of the formats that are accepted can be given: 406.
    NotAcceptable,
    /// There is nothing of the range that is asked for: 416.
    RangeNotSatisfiable,
    /// A mistake of the program; certainly not carried out: 500.
    Internal,
    /// The key is not there: 404.
    KeyNotFound,
    /// The path does not take this method: 405.
    MethodNotAllowed,
    /// The body did not come in time: 408.
    RequestTimeout,
    /// The command was carried out by an earlier attempt, whose outcome was too large to keep: 409.
    OutcomeNotKept,
    /// The session has gone on to a later command: 409.
    StaleSequence,
    /// The session used the sequence for another command: 409.
    SequenceReused,
    /// The session is not known (any more), or began with another number than 1; certainly not carried out: 409.
    UnknownSession,
    /// The revision asked for is compacted away: 410.
    Compacted,
    /// The condition of the request does not hold; nothing was changed: 412.
    PreconditionFailed,
    /// Body, key, value or command over a limit: 413.
    TooLarge,
    /// The revision asked for has not happened yet: 400.
    FutureRevision,
    /// The body is of a media type that is not taken here: 415.
    UnsupportedMediaType,
    /// Headers over a limit: 431.
    HeadersTooLarge,
    /// No leader is known; certainly not carried out: 503.
    NoLeader,
    /// A limit is reached; certainly not carried out: 503.
    Overloaded,
    /// The node is stopping or has failed; certainly not carried out: 503.
    Unavailable,
    /// A read got no answer in time: 504.
    ReadTimeout,
    /// A command got no outcome in time: it may have been, or may still be, carried out: 504.
    OutcomeUnknown,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: [ProblemKind; 35] = [
        ProblemKind::BadRequest,
        ProblemKind::Unauthenticated,
        ProblemKind::InsufficientScope,
        ProblemKind::RateLimited,
        ProblemKind::InvalidCursor,
        ProblemKind::IdempotencyKeyMissing,
        ProblemKind::IdempotencyKeyReused,
        ProblemKind::IdempotencyInProgress,
        ProblemKind::PreconditionRequired,
        ProblemKind::UnknownRoute,
        ProblemKind::ForeignOrigin,
        ProblemKind::UnsupportedMediaType,
        ProblemKind::NotFound,
        ProblemKind::WrongStatus,
        ProblemKind::QuotaReached,
        ProblemKind::NotAcceptable,
        ProblemKind::RangeNotSatisfiable,
        ProblemKind::Internal,
        ProblemKind::KeyNotFound,
        ProblemKind::MethodNotAllowed,
        ProblemKind::RequestTimeout,
        ProblemKind::OutcomeNotKept,
        ProblemKind::StaleSequence,
        ProblemKind::SequenceReused,
        ProblemKind::UnknownSession,
        ProblemKind::Compacted,
        ProblemKind::PreconditionFailed,
        ProblemKind::TooLarge,
        ProblemKind::FutureRevision,
        ProblemKind::HeadersTooLarge,
        ProblemKind::NoLeader,
        ProblemKind::Overloaded,
        ProblemKind::Unavailable,
        ProblemKind::ReadTimeout,
        ProblemKind::OutcomeUnknown,
    ];

    /// The last part of the `type` URN.
    pub fn slug(self) -> &'static str {
        self.parts().1
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        self.parts().0
    }

    /// What it means, in a few words.
    pub fn title(self) -> &'static str {
        self.parts().2
    }

    /// A problem document's `type`.
    pub fn urn(self) -> String {
        format!("{TYPE_PREFIX}{}", self.slug())
    }

    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (
                StatusCode::BAD_REQUEST,
                "bad-request",
                "The request cannot be understood",
            ),
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "An API key is asked for",
            ),
            Self::InsufficientScope => (
                StatusCode::FORBIDDEN,
                "insufficient-scope",
                "The API key was not granted what this asks for",
            ),
            Self::RateLimited => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate-limited",
                "Too many requests lately",
            ),
            Self::InvalidCursor => (
                StatusCode::BAD_REQUEST,
                "invalid-cursor",
                "The cursor is not one of this list",
            ),
            Self::IdempotencyKeyMissing => (
                StatusCode::BAD_REQUEST,
                "idempotency-key-missing",
                "An Idempotency-Key is asked for",
            ),
            Self::IdempotencyKeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The Idempotency-Key was used for another request",
            ),
            Self::IdempotencyInProgress => (
                StatusCode::CONFLICT,
                "idempotency-in-progress",
                "The request of this Idempotency-Key is being carried out",
            ),
            Self::PreconditionRequired => (
                StatusCode::PRECONDITION_REQUIRED,
                "precondition-required",
                "The request must say which version it means",
            ),
            Self::UnknownRoute => (
                StatusCode::NOT_FOUND,
                "unknown-route",
                "Nothing lives at this path",
            ),
            Self::ForeignOrigin => (
                StatusCode::FORBIDDEN,
                "foreign-origin",
                "A web page of another origin may not ask",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body's media type is not taken here",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "not-found",
                "There is nothing of this name",
            ),
            Self::WrongStatus => (
                StatusCode::CONFLICT,
                "wrong-status",
                "Not in its present status",
            ),
            Self::QuotaReached => (
                StatusCode::CONFLICT,
                "quota-reached",
                "So many are kept, and no more",
            ),
            Self::NotAcceptable => (
                StatusCode::NOT_ACCEPTABLE,
                "not-acceptable",
                "None of the formats that are accepted can be given",
            ),
            Self::RangeNotSatisfiable => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range-not-satisfiable",
                "There is nothing of the range",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "A mistake of the program",
            ),
            Self::KeyNotFound => (
                StatusCode::NOT_FOUND,
                "key-not-found",
                "The key does not exist",
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The path does not take this method",
            ),
            Self::RequestTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "request-timeout",
                "The request did not arrive in time",
            ),
            Self::OutcomeNotKept => (
                StatusCode::CONFLICT,
                "outcome-not-kept",
                "Already carried out; the outcome was too large to keep",
            ),
            Self::StaleSequence => (
                StatusCode::CONFLICT,
                "stale-sequence",
                "The session has gone on to a later command",
            ),
            Self::SequenceReused => (
                StatusCode::CONFLICT,
                "sequence-reused",
                "The session used the sequence for another command",
            ),
            Self::UnknownSession => (
                StatusCode::CONFLICT,
                "unknown-session",
                "The session is not known",
            ),
            Self::Compacted => (
                StatusCode::GONE,
                "compacted",
                "The revision is compacted away",
            ),
            Self::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                "precondition-failed",
                "The condition does not hold",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is over a size limit",
            ),
            Self::FutureRevision => (
                StatusCode::BAD_REQUEST,
                "future-revision",
                "The revision has not happened yet",
            ),
            Self::HeadersTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers-too-large",
                "The headers are over a size limit",
            ),
            Self::NoLeader => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no-leader",
                "No leader is known at the moment",
            ),
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "A limit is reached",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The node is not serving",
            ),
            Self::ReadTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "read-timeout",
                "The read got no answer in time",
            ),
            Self::OutcomeUnknown => (
                StatusCode::GATEWAY_TIMEOUT,
                "outcome-unknown",
                "The command may or may not have been carried out",
            ),
        }
    }
}

/// A refusal, as an RFC 9457 problem document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub kind: ProblemKind,
    /// What was wrong with this request, and where.
    pub detail: String,
    /// Members of the document beyond the standard ones, such as `compact_revision`.
    pub extra: Map<String, Value>,
    /// Headers that go with it, such as `Allow`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Problem {
            kind,
            detail: detail.into(),
            extra: Map::new(),
            headers: Vec::new(),
        }
    }

    /// A request that cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Problem::new(ProblemKind::BadRequest, detail)
    }

    /// With another member in the document.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// With a header on the response.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The document.
    pub fn document(&self) -> Document {
        let (status, slug, title) = self.kind.parts();
        Document {
            kind: format!("{TYPE_PREFIX}{slug}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone(),
            extra: self.extra.clone(),
        }
    }

    /// The problem that a document describes; `None` when it is not one of ours.
    pub fn from_document(document: Document) -> Option<Problem> {
        let slug = document.kind.strip_prefix(TYPE_PREFIX)?;
        let kind = ProblemKind::ALL
            .into_iter()
            .find(|kind| kind.slug() == slug)?;
        Some(Problem {
            kind,
            detail: document.detail,
            extra: document.extra,
            headers: Vec::new(),
        })
    }

    /// The response.
    pub fn into_response(self) -> Response<ReplyBody> {
        let body = serde_json::to_vec(&self.document()).expect("a problem document encodes");
        let mut response = Response::new(ReplyBody::full(Bytes::from(body)));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.kind.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        headers.extend(self.headers);
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.parts().2, self.detail)
    }
}

impl std::error::Error for Problem {}

/// A problem document's JSON (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// A URN that names the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the kind means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here.
    pub detail: String,
    /// Further members.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn documents_round_trip_and_kinds_differ() {
        let mut slugs = BTreeSet::new();
        for kind in ProblemKind::ALL {
            assert!(slugs.insert(kind.slug()), "{} twice", kind.slug());
            let problem = Problem::new(kind, "so it is").with("revision", 7);
            let text = serde_json::to_string(&problem.document()).expect("encodes");
            let document = serde_json::from_str(&text).expect("decodes");
            assert_eq!(Problem::from_document(document), Some(problem));
        }
    }

    #[test]
    fn foreign_documents_are_not_taken_for_ours() {
        let foreign = r#"{"type":"about:blank","title":"x","status":502,"detail":""}"#;
        let document = serde_json::from_str(foreign).expect("decodes");
        assert_eq!(Problem::from_document(document), None);
    }
}
