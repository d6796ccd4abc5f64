//! The REST interface: what each path does.
//!
//! | Path | Method | Takes | Gives |
//! |---|---|---|---|
//! | `/v1/kv/keys/<key>` | GET, HEAD | `revision`, `consistency`; `If-Match`, `If-None-Match` | [`GetReply`](crate::wire::GetReply), `ETag` |
//! | | PUT | the value as the body, `prev_kv`; `If-Match`, `If-None-Match` | [`PutReply`](crate::wire::PutReply), `ETag` |
//! | | DELETE | `prev_kv`; `If-Match`, `If-None-Match` | [`DeleteReply`](crate::wire::DeleteReply) |
//! | `/v1/kv/range` | GET, HEAD | keys, `limit`, `cursor`, `revision`, `keys_only`, `count_only`, `consistency` | [`RangeReply`](crate::wire::RangeReply) |
//! | | DELETE | keys, `prev_kv` | [`DeleteReply`](crate::wire::DeleteReply) |
//! | `/v1/kv/txn` | POST | [`TxnRequest`](crate::wire::TxnRequest) | [`TxnReply`](crate::wire::TxnReply) |
//! | `/v1/kv/compact` | POST | [`CompactRequest`](crate::wire::CompactRequest) | [`CompactReply`](crate::wire::CompactReply) |
//! | `/v1/kv/watch` | GET | keys, `from_revision` | [`WatchLine`](crate::wire::WatchLine)s |
//! | `/v1/links/jobs` | POST | [`NewJobRequest`](crate::wire::links::NewJobRequest); `Idempotency-Key` | 201, [`CheckJob`](holdfast_links::CheckJob), `ETag`, `Location` |
//! | | GET, HEAD | `limit`, `cursor`, `consistency` | [`JobsReply`](crate::wire::links::JobsReply), the newest first |
//! | `/v1/links/jobs/<id>` | GET, HEAD | `consistency`; `If-None-Match` | [`JobReply`](crate::wire::links::JobReply), `ETag` |
//! | | DELETE | `If-Match`, `Idempotency-Key` | 204 |
//! | `/v1/links/jobs/<id>/cancel`, `/resume` | POST | `If-Match`, `Idempotency-Key` | [`CheckJob`](holdfast_links::CheckJob), `ETag` |
//! | `/v1/links/jobs/<id>/results` | GET, HEAD | `filter`, `limit`, `cursor`, `consistency` | [`ResultsReply`](crate::wire::links::ResultsReply) |
//! | `/v1/links/jobs/<id>/report` | GET | `format` or `Accept`, `filter`, `consistency` | a [report](holdfast_links::report) |
//! | `/v1/links/jobs/<id>/events` | GET | | [`JobEvent`](crate::wire::links::JobEvent)s |
//! | `/v1/dht` | GET, HEAD | | [`DhtStatusReply`](crate::wire::dht::DhtStatusReply) |
//! | `/v1/dht/nodes` | GET, HEAD | | [`DhtNodesReply`](crate::wire::dht::DhtNodesReply) |
//! | `/v1/dht/lookup/<id>` | GET, HEAD | | [`DhtLookupReply`](crate::wire::dht::DhtLookupReply) |
//! | `/v1/dht/items` | POST | [`DhtPutRequest`](crate::wire::dht::DhtPutRequest) | [`DhtStoredReply`](crate::wire::dht::DhtStoredReply) |
//! | `/v1/dht/items/<id>` | GET, HEAD | `salt` | [`DhtItemReply`](crate::wire::dht::DhtItemReply) |
//! | `/v1/dht/peers/<id>` | GET, HEAD | | [`DhtPeersReply`](crate::wire::dht::DhtPeersReply) |
//! | | POST | [`DhtAnnounceRequest`](crate::wire::dht::DhtAnnounceRequest) | [`DhtStoredReply`](crate::wire::dht::DhtStoredReply) |
//! | `/v1/dht/samples/<id>` | GET, HEAD | | [`DhtSamplesReply`](crate::wire::dht::DhtSamplesReply) |
//! | `/v1/dht/cluster` | GET, HEAD | | [`DhtClusterReply`](crate::wire::dht::DhtClusterReply) |
//! | | POST | `replace` | [`DhtClusterReply`](crate::wire::dht::DhtClusterReply) |
//! | `/v1/dht/kept` | GET, HEAD | | [`DhtKeptReply`](crate::wire::dht::DhtKeptReply) |
//! | `/v1/dht/kept/peers/<id>`, `/v1/dht/kept/items/<id>` | DELETE | | 204 |
//! | `/v1/blobs` | GET, HEAD | `limit`, `cursor` | [`BlobsReply`](crate::wire::blobs::BlobsReply) |
//! | | PUT | the blob as the body | [`BlobReply`](crate::wire::blobs::BlobReply) |
//! | `/v1/blobs/<id>` | GET, HEAD | `Range`; `If-Match`, `If-None-Match`, `If-Range` | the blob (200, 206), `ETag` |
//! | | DELETE | | 204 |
//! | `/v1/keys` | POST | [`NewKeyRequest`](crate::wire::keys::NewKeyRequest); `Idempotency-Key` | 201, [`CreatedKey`](crate::wire::keys::CreatedKey), `Location` |
//! | | GET, HEAD | `limit`, `cursor`, `consistency` | [`KeysReply`](crate::wire::keys::KeysReply), the newest first |
//! | `/v1/keys/<id>` | GET, HEAD | `consistency` | [`ApiKeyInfo`](crate::wire::keys::ApiKeyInfo) |
//! | | DELETE | `Idempotency-Key` | 204 |
//! | `/v1/audit` | GET, HEAD | `limit`, `cursor`, `consistency` | [`AuditReply`](crate::wire::links::AuditReply), the newest first |
//! | `/v1/outbox/dead-letters` | GET, HEAD | `limit`, `cursor`, `consistency` | [`DeadLettersReply`](crate::wire::links::DeadLettersReply) |
//! | `/v1/outbox/dead-letters/<id>/revive` | POST | | 204 |
//! | `/v1/status` | GET, HEAD | `digest` | [`StatusReply`](crate::wire::StatusReply) |
//! | `/v1/cluster/transfer` | POST | [`TransferRequest`](crate::wire::TransferRequest) | 202 |
//! | `/healthz`, `/readyz` | GET, HEAD | | 200 or 503 |
//! | `/metrics` | GET, HEAD | | Prometheus' text format |
//! | `/openapi.json` | GET, HEAD | | this, as an OpenAPI 3.1 document |
//!
//! *Keys* are one of `key=`, `prefix=` (empty for all), and `start=` up to and without `end=`; everything in a path
//! after `keys/` is the key, percent-encoded. `consistency` is `linearizable` (when nothing is said) or `stale`. A
//! key's `ETag` is the revision of its last change in quotes.
//!
//! A POST's body is JSON and its `Content-Type` says so. What a web page of another origin asks (by its `Origin`) is
//! refused: a browser on the node's machine must not make everybody's page a client.
//!
//! Every refusal is a problem document (RFC 9457) whose `type` names its [`ProblemKind`]; a parameter or member that is
//! not known is refused, since a misspelt limit must not go unnoticed. A command may carry a session's ticket
//! ([`SESSION_HEADER`]): retried with the same ticket, through whichever node, it is carried out once. With a ticket that
//! was used for another command it is refused.
//!
//! Where `auth.mode` is `keys`, everything but `/healthz`, `/readyz` and `/openapi.json` asks for an API key with the
//! scope of the operation ([`auth`](crate::auth)). Every answer names its request (`X-Request-Id`), every change that
//! is asked for is audited ([`audit`](crate::audit)), and where `limits.requests_per_second` says so, who asks too
//! often is refused and told when to come back.
//!
//! A list that a limit cut short has a `next`: the `cursor` of the query for the page after it, which a `Link` header
//! also leads to.
//!
//! A watch is a stream of JSON documents, one a line, or of server-sent events when `Accept` asks for
//! `text/event-stream`, which `Last-Event-ID` resumes.

mod access;
mod admin;
mod blobs;
mod convert;
mod dht;
mod discovery;
mod keys;
mod links;
mod openapi;
mod origin;
mod range;
mod rate;
mod records;
mod table;
mod tables;
mod txn;
mod watch;

use crate::{
    audit::{Audit, LogAudit, Record},
    auth::{Actor, Authenticator, Identity},
    blobs::NodeBlobs,
    config::{LimitsSection, NodeConfig},
    discovery::DiscoveryHandle,
    http::{
        Handler, Problem, ProblemKind, REQUEST_ID_HEADER, ReplyBody, RequestIds, ServerStats,
        Upload,
    },
    metrics::Metrics,
    wire::Consistency,
};
use bytes::Bytes;
use holdfast_host::{BoxFuture, Host, Moment};
use holdfast_kv::Kv;
use holdfast_peers::DhtHandle;
use holdfast_replica::{Outcome, Rejection, ReplicaHandle, RequestError, Session};
use holdfast_tables::TablesHandle;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header, request::Parts};
use hyper::body::{Body, Incoming};
use rate::{RateLimiter, Standing};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use table::{Access, Call, Effect, Operation, Path, PathValues, Router};
use watch::Watches;

/// The request header that carries a session's ticket: `<32 hexadecimal digits>:<sequence>`. The digits name the session:
/// 16 of them say where it opens, an `index` that the client was told by a refusal (zeros when it was told none), and 16
/// are drawn at random. Once sessions have been forgotten, only one that opens after them can begin.
pub const SESSION_HEADER: &str = "holdfast-session";

const REQUEST_ID: HeaderName = HeaderName::from_static(REQUEST_ID_HEADER);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers the requests of a node's clients.
pub struct Api {
    host: Host,
    replica: ReplicaHandle<Kv>,
    tables: TablesHandle,
    dht: Option<DhtHandle>,
    discovery: Option<DiscoveryHandle>,
    blobs: Option<NodeBlobs>,
    router: Router,
    /// The OpenAPI document.
    described: Bytes,
    about: About,
    /// How the node's own origin begins.
    scheme: &'static str,
    authenticator: Authenticator,
    rate: Option<RateLimiter>,
    audit_log: LogAudit,
    audit: Option<Arc<dyn Audit>>,
    request_ids: RequestIds,
    limits: LimitsSection,
    watches: Watches,
    metrics: Arc<Metrics>,
    http: Arc<ServerStats>,
    is_draining: AtomicBool,
}

/// What a node tells of itself that never changes.
struct About {
    node: u64,
    cluster: String,
    cluster_id: u64,
    members: BTreeMap<u64, String>,
}

impl Api {
    /// The interface of the node that `config` describes and `replica` runs, with its `tables`
    /// and its node of the `dht`. `audit` is told of
    /// changes, beside the log.
    pub fn new(
        host: &Host,
        config: &NodeConfig,
        replica: ReplicaHandle<Kv>,
        tables: TablesHandle,
        dht: Option<DhtHandle>,
        http: Arc<ServerStats>,
        audit: Option<Arc<dyn Audit>>,
    ) -> Self {
        let described = openapi::document(table::SERVICES);
        Api {
            host: host.clone(),
            router: Router::new(table::SERVICES),
            described: serde_json::to_vec(&described).expect("it encodes").into(),
            about: About {
                node: config.node.id,
                cluster: config.cluster.name.clone(),
                cluster_id: config.cluster.identity(),
                members: config.members(),
            },
            scheme: if config.tls.is_on() {
                "https://"
            } else {
                "http://"
            },
            authenticator: config.auth.authenticator(host, &tables),
            rate: RateLimiter::new(host, &config.limits),
            audit,
            audit_log: match config.logs_audit() {
                true => LogAudit::logging(),
                false => LogAudit::counting(),
            },
            request_ids: RequestIds::new(host),
            limits: config.limits.clone(),
            watches: Watches::start(host, &config.limits, replica.clone()),
            replica,
            tables,
            dht,
            discovery: None,
            blobs: None,
            metrics: Arc::default(),
            http,
            is_draining: AtomicBool::new(false),
        }
    }

    /// The same of a node that knows where its cluster's members are.
    #[must_use]
    pub fn with_discovery(mut self, discovery: Option<DiscoveryHandle>) -> Self {
        self.discovery = discovery;
        self
    }

    /// The same of a node that has blobs.
    #[must_use]
    pub fn with_blobs(mut self, blobs: Option<NodeBlobs>) -> Self {
        self.blobs = blobs;
        self
    }

    /// From now on the node says that it is not ready, and its watches end with a line that says so.
    pub fn begin_drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.watches.close();
    }

    async fn answer(
        &self,
        found: Result<(&'static Path, PathValues), Problem>,
        body: &mut Upload,
        witness: &mut Witness<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let head = witness.head;
        let (path, values) = found?;
        let operation = path.operation(&head.method);
        witness.operation = operation;
        origin::check(head, self.scheme)?;
        let Some(operation) = operation else {
            return Err(table::method_not_allowed(path, &head.method));
        };
        let identity = self.admit(operation, witness).await?;
        let call = Call {
            operation,
            path: values,
            actor: witness.actor,
            identity,
            head,
            body,
        };
        let answer = (operation.run)(self, call).await;
        if let Err(problem) = &answer {
            debug_assert!(
                operation.refusals().any(|kind| kind == problem.kind),
                "{} is not said to refuse with {}",
                operation.id,
                problem.kind.slug()
            );
        }
        answer
    }

    /// Refuses who asks too often, who is not known, and who may not, in this order: who has a key is counted by the
    /// key, and who has none, or a wrong one, by the address.
    async fn admit(
        &self,
        operation: &Operation,
        witness: &mut Witness<'_>,
    ) -> Result<Option<Identity>, Problem> {
        if operation.access == Access::Probe {
            return Ok(None);
        }
        let identity = match operation.scope() {
            None => None,
            Some(scope) => Some((
                scope,
                self.authenticator.identify(&witness.head.headers).await,
            )),
        };
        if let Some((_, Ok(identity))) = &identity {
            witness.actor = identity.actor;
        }
        if let Some(rate) = &self.rate {
            let standing = rate.take(witness.actor, witness.remote.ip());
            witness.standing = Some(standing);
            standing.check()?;
        }
        let Some((scope, identity)) = identity else {
            return Ok(None);
        };
        let identity = identity?;
        identity.check(scope)?;
        Ok(Some(identity))
    }

    /// Reads the JSON body that the operation takes.
    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        call: &mut Call<'_>,
    ) -> Result<T, Problem> {
        decode(&self.json_body(call).await?)
    }

    /// Reads the JSON body that the operation takes, as it stands there.
    async fn json_body(&self, call: &mut Call<'_>) -> Result<Bytes, Problem> {
        origin::check_json(call.head)?;
        self.body(call).await
    }

    /// Reads the body that the operation takes.
    async fn body(&self, call: &mut Call<'_>) -> Result<Bytes, Problem> {
        let taken = call.operation.request.as_ref();
        let limit = taken.expect("the table says that it takes a body").limit;
        let limit = limit.of(&self.limits) as usize;
        let patience = self.limits.body_timeout;
        call.body.read(&self.host, limit, patience).await
    }

    /// What this interface takes and gives.
    fn openapi_document(&self) -> Response<ReplyBody> {
        json_response(self.described.clone())
    }

    /// The state that `consistency` promises.
    async fn read(&self, consistency: Consistency) -> Result<Kv, Problem> {
        self.replica
            .read(convert::consistency(consistency))
            .await
            .map_err(unread)
    }

    /// Replicates an encoded command and returns its encoded outcome.
    async fn propose(&self, session: Option<Session>, command: Bytes) -> Result<Bytes, Problem> {
        if let Some(failure) = self.failure() {
            return Err(Problem::new(ProblemKind::Unavailable, failure));
        }
        self.metrics.proposals.fetch_add(1, Ordering::Relaxed);
        let proposed = self.replica.propose(session, command).await;
        let (index, outcome) = proposed.map_err(|error| self.not_proposed(error))?;
        let refused = match outcome {
            Outcome::Applied(bytes) | Outcome::Duplicate(bytes) => return Ok(bytes),
            Outcome::NotKept => Problem::new(
                ProblemKind::OutcomeNotKept,
                "an earlier attempt with this session and sequence was carried out",
            ),
            Outcome::StaleSequence => Problem::new(
                ProblemKind::StaleSequence,
                "the session has carried out a command with a higher sequence",
            ),
            Outcome::SequenceReused => Problem::new(
                ProblemKind::SequenceReused,
                "the session carried out another command with this sequence; this one was not carried out",
            ),
            Outcome::UnknownSession => Problem::new(
                ProblemKind::UnknownSession,
                "a session begins with sequence 1, and is forgotten when it is unused for long; begin another, whose \
                 id's first 16 digits are this problem's `index`",
            ),
        };
        Err(refused.with("index", index))
    }

    /// Why a command has no outcome, and whether it may have been carried out all the same.
    fn not_proposed(&self, error: RequestError) -> Problem {
        let is_unknown = matches!(
            error,
            RequestError::Rejected(Rejection::TimedOut) | RequestError::Stopped
        );
        if !is_unknown {
            return refusal(error);
        }
        self.metrics
            .proposals_unknown
            .fetch_add(1, Ordering::Relaxed);
        Problem::new(ProblemKind::OutcomeUnknown, error.to_string())
    }

    fn check_key(&self, key: &Bytes) -> Result<(), Problem> {
        if key.is_empty() {
            return Err(Problem::bad_request("a key has at least one byte"));
        }
        let limit = self.limits.key_bytes;
        check_size("the key", key.len(), limit)
    }
}

impl Handler for Api {
    fn handle(
        &self,
        request: Request<Incoming>,
        remote: SocketAddr,
    ) -> BoxFuture<'_, Response<ReplyBody>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let mut body = Upload::new(&head.headers, body);
            let found = self.router.find(head.uri.path());
            let label = found.as_ref().map_or("unknown", |(path, _)| path.label);
            let mut witness = Witness {
                api: self,
                head: &head,
                remote,
                began: self.host.now(),
                request: self.request_ids.name(&head.headers),
                operation: None,
                actor: Actor::Anonymous,
                standing: None,
                status: None,
            };
            let answer = self.answer(found, &mut body, &mut witness).await;
            body.drain(&self.host).await;
            let mut response = answer.unwrap_or_else(Problem::into_response);
            if head.method == Method::HEAD {
                leave_body_out(&mut response);
            }
            let status = response.status().as_u16();
            witness.status = Some(status);
            let headers = response.headers_mut();
            if let (Some(rate), Some(standing)) = (&self.rate, witness.standing) {
                rate.write_headers(standing, headers);
            }
            headers.insert(REQUEST_ID, witness.request.clone());
            let took = self.host.now().since(witness.began);
            self.metrics.answered(label, status, took);
            response
        })
    }
}

/// What is known of a request so far. When it is dropped, the request is over, and a change is audited: also when the
/// client went away, and its request's future with it.
struct Witness<'a> {
    api: &'a Api,
    head: &'a Parts,
    remote: SocketAddr,
    began: Moment,
    request: HeaderValue,
    operation: Option<&'static Operation>,
    actor: Actor,
    standing: Option<Standing>,
    status: Option<u16>,
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        let Some(operation) = self.operation.filter(|one| one.effect == Effect::Change) else {
            return;
        };
        let host = &self.api.host;
        let record = Record {
            time: host.unix_time(),
            request: self.request.to_str().expect("names are ASCII"),
            actor: self.actor,
            remote: self.remote,
            operation: operation.id,
            resource: self.head.uri.path(),
            status: self.status,
            took: host.now().since(self.began),
        };
        self.api.audit_log.record(&record);
        if let Some(audit) = &self.api.audit {
            audit.record(&record);
        }
    }
}

/// Answers a HEAD request: what the body's length would be, and no body. HTTP/1 would leave it out by itself, HTTP/2
/// would not.
fn leave_body_out(response: &mut Response<ReplyBody>) {
    let body = std::mem::replace(response.body_mut(), ReplyBody::Full(None));
    if let Some(len) = body.size_hint().exact() {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, len.into());
    }
}

/// Why a read has no answer.
fn unread(error: RequestError) -> Problem {
    match error {
        RequestError::Rejected(Rejection::TimedOut) => Problem::new(
            ProblemKind::ReadTimeout,
            "no quorum confirmed in time that this node's state is current",
        ),
        other => refusal(other),
    }
}

fn refusal(error: RequestError) -> Problem {
    let kind = match error {
        RequestError::Rejected(Rejection::NoLeader | Rejection::LeaderChanged) => {
            ProblemKind::NoLeader
        }
        RequestError::Rejected(Rejection::Overloaded) => ProblemKind::Overloaded,
        RequestError::Rejected(Rejection::TooLarge) => ProblemKind::TooLarge,
        RequestError::Rejected(Rejection::TimedOut) => ProblemKind::OutcomeUnknown,
        RequestError::Stopped => ProblemKind::Unavailable,
    };
    Problem::new(kind, error.to_string())
}

fn check_size(what: &str, len: usize, limit: u64) -> Result<(), Problem> {
    if len as u64 <= limit {
        return Ok(());
    }
    let detail = format!("{what} has {len} bytes; at most {limit} are accepted");
    Err(Problem::new(ProblemKind::TooLarge, detail).with("limit", limit))
}

/// What a JSON body says.
fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // The decoder would take an array for an object, its elements in the order of the members.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad_request("the body must be a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        Problem::bad_request(format!("the body is not the JSON expected here: {error}"))
    })
}

/// A JSON response.
fn json_reply(body: &impl Serialize) -> Response<ReplyBody> {
    json_response(serde_json::to_vec(body).expect("replies encode"))
}

/// A response of these bytes, which are JSON.
fn json_response(bytes: impl Into<Bytes>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// The session's ticket among a request's headers.
fn session(headers: &HeaderMap) -> Result<Option<Session>, Problem> {
    let Some(value) = headers.get(SESSION_HEADER) else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(|text| {
        let (client, sequence) = text.split_once(':')?;
        let is_hex = client.len() == 32 && client.bytes().all(|b| b.is_ascii_hexdigit());
        let client = u128::from_str_radix(client, 16).ok().filter(|_| is_hex)?;
        let sequence = sequence.parse().ok().filter(|sequence| *sequence > 0)?;
        Some(Session { client, sequence })
    });
    match parsed {
        Some(session) => Ok(Some(session)),
        None => Err(Problem::bad_request(
            "the header Holdfast-Session must be 32 hexadecimal digits, a colon, and a sequence number from 1",
        )),
    }
}

/// The parameter `consistency` of a query.
fn consistency(query: &mut crate::http::Query) -> Result<Consistency, Problem> {
    match query.text("consistency")?.as_deref() {
        None | Some("linearizable") => Ok(Consistency::Linearizable),
        Some("stale") => Ok(Consistency::Stale),
        Some(other) => Err(Problem::bad_request(format!(
            "query parameter `consistency` must be linearizable or stale, not `{other}`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(text: &str) -> Result<Option<Session>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(SESSION_HEADER, text.parse().expect("a header value"));
        session(&headers)
    }

    #[test]
    fn tickets_are_read_strictly() {
        assert_eq!(session(&HeaderMap::new()), Ok(None));
        assert_eq!(
            ticket("000000000000000000000000000000ff:12"),
            Ok(Some(Session {
                client: 255,
                sequence: 12
            }))
        );
        for bad in [
            "",
            "ff:1",
            "000000000000000000000000000000ff",
            "000000000000000000000000000000ff:0",
            "000000000000000000000000000000ff:-1",
            "+00000000000000000000000000000ff:1",
            "000000000000000000000000000000ff:1:2",
        ] {
            assert!(ticket(bad).is_err(), "{bad}");
        }
    }
}
