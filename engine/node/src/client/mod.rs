//! A client of the REST interface, over a [`Host`].

mod blobs;
mod connection;
mod content;
mod dht;
mod keys;
mod links;
mod watch;

pub use content::FileContent;
pub use links::{JobEvents, LinksReport};
pub use watch::{Watch, WatchItem};

use crate::{
    auth::ApiKey,
    http::{
        Problem, ProblemKind, TlsConnector, idempotency::IDEMPOTENCY_KEY_HEADER, percent_encode,
    },
    wire::{
        CompactReply, CompactRequest, Consistency, DeleteReply, GetReply, KeySet, PutReply,
        RangeReply, StatusReply, TransferRequest, TxnReply, TxnRequest,
    },
};
use bytes::Bytes;
use connection::{Answer, Connections, Failed};
use content::Content;
use holdfast_host::{Host, Moment};
use http::{HeaderName, Method};
use rand_chacha::{ChaCha8Rng, rand_core::RngCore};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Shortest pause before all endpoints have been tried in vain once more; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// What a client does when an attempt fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: every call is one attempt, and its error says whether the request may have been carried out.
    Never,
    /// Tries again, also at other endpoints, for this long. A command is tried again after an unknown outcome only
    /// in a session or under an `Idempotency-Key`, where that is harmless.
    For(Duration),
}

/// Whether commands carry a session's ticket, by which the cluster recognises a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// Commands carry a ticket, and go one after the other.
    Own,
    /// They do not.
    None,
}

/// How a [`Client`] behaves.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The nodes' client addresses, `host:port` (or `http://host:port`, or `https://host:port`); at least one.
    pub endpoints: Vec<String>,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long one attempt may take once connected.
    pub attempt_timeout: Duration,
    /// How long a watch may be silent before it is taken for dead and begun anew elsewhere. Nodes give a sign of life
    /// more often ([`LimitsSection::watch_progress`](crate::config::LimitsSection::watch_progress)).
    pub watch_silence: Duration,
    /// What happens after a failed attempt.
    pub retry: Retry,
    /// Whether commands are retried safely.
    pub sessions: Sessions,
    /// What is shown to nodes that ask for a key. It travels as it is.
    pub api_key: Option<ApiKey>,
    /// By what the nodes at `https://` are known. Without it, there is no way to them.
    pub tls: Option<TlsConnector>,
}

impl ClientConfig {
    /// Sessions and 15 s of retries.
    pub fn new(endpoints: Vec<String>) -> Self {
        ClientConfig {
            endpoints,
            connect_timeout: Duration::from_secs(2),
            attempt_timeout: Duration::from_secs(8),
            watch_silence: Duration::from_secs(20),
            retry: Retry::For(Duration::from_secs(15)),
            sessions: Sessions::Own,
            api_key: None,
            tls: None,
        }
    }

    /// One attempt a call, without sessions: for workloads that judge every outcome themselves.
    pub fn single_attempt(endpoints: Vec<String>) -> Self {
        ClientConfig {
            retry: Retry::Never,
            sessions: Sessions::None,
            ..ClientConfig::new(endpoints)
        }
    }
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// A node refused. The request was certainly not carried out, and will not be (but see
    /// [`ProblemKind::OutcomeNotKept`]).
    #[error("{0}")]
    Refused(Problem),
    /// No node took the request: it was certainly not carried out, and will not be.
    #[error("cannot reach {endpoint}: {detail}")]
    Unreachable {
        /// The endpoint tried last.
        endpoint: String,
        /// What went wrong there.
        detail: String,
    },
    /// The request may have been carried out, may still be, or may never be.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

impl ClientError {
    /// Whether the request certainly was not, and will not be, carried out.
    pub fn is_definite(&self) -> bool {
        match self {
            ClientError::Refused(problem) => problem.kind != ProblemKind::OutcomeNotKept,
            ClientError::Unreachable { .. } => true,
            ClientError::Unknown(_) => false,
        }
    }

    /// What kind of refusal it is, when it is one.
    pub fn refusal(&self) -> Option<ProblemKind> {
        match self {
            ClientError::Refused(problem) => Some(problem.kind),
            _ => None,
        }
    }
}

/// What must hold for a put or a deletion to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The key was last changed at this revision.
    ModRevision(u64),
    /// The key is there.
    Exists,
    /// The key is not there.
    Absent,
}

/// Which keys to read, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeQuery {
    /// Which keys.
    pub keys: KeySet,
    /// At most so many; `None` for as many as the node allows.
    pub limit: Option<u64>,
    /// As of this revision; the present one when `None`.
    pub revision: Option<u64>,
    /// Leave the values out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// How much the read asks for.
    pub consistency: Consistency,
}

/// A client of a cluster. Clones share connections and the session.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    host: Host,
    config: ClientConfig,
    connections: Connections,
    /// Counts endpoint changes; modulo the number of endpoints, where to go next.
    rotation: AtomicUsize,
    rng: Mutex<ChaCha8Rng>,
    /// Held during a command: a session has one under way at a time.
    session: tokio::sync::Mutex<Place>,
}

/// Where a client is in its session.
#[derive(Default)]
struct Place {
    /// The next command's ticket; `None` when that begins a session.
    next: Option<Ticket>,
    /// Where the next session opens: an index of the cluster's log that this client was told.
    opens_at: u64,
}

#[derive(Clone, Copy)]
struct Ticket {
    client: u128,
    sequence: u64,
}

/// A request before it has a connection.
#[derive(Clone, Debug)]
struct Call {
    method: Method,
    target: String,
    headers: Vec<(HeaderName, String)>,
    body: Content,
    effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Read,
    Command,
}

impl Call {
    fn new(method: Method, target: impl Into<String>, effect: Effect) -> Self {
        Call {
            method,
            target: target.into(),
            headers: Vec::new(),
            body: Bytes::new().into(),
            effect,
        }
    }

    fn json(mut self, body: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(body).expect("a request encodes");
        self.body = Bytes::from(bytes).into();
        self.headers
            .push((http::header::CONTENT_TYPE, "application/json".to_owned()));
        self
    }

    fn with_condition(mut self, condition: Condition) -> Self {
        let header = match condition {
            Condition::None => return self,
            Condition::ModRevision(revision) => (http::header::IF_MATCH, format!("\"{revision}\"")),
            Condition::Exists => (http::header::IF_MATCH, "*".to_owned()),
            Condition::Absent => (http::header::IF_NONE_MATCH, "*".to_owned()),
        };
        self.headers.push(header);
        self
    }
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Panics
    /// When there is no endpoint.
    pub fn new(host: &Host, config: ClientConfig) -> Self {
        assert!(!config.endpoints.is_empty(), "a client has an endpoint");
        let mut rng = host.rng("client");
        // Many clients of one cluster begin at different nodes.
        let rotation = rng.next_u32() as usize % config.endpoints.len();
        Client {
            shared: Arc::new(Shared {
                connections: Connections::new(host, &config),
                host: host.clone(),
                config,
                rotation: AtomicUsize::new(rotation),
                rng: Mutex::new(rng),
                session: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// Puts a key.
    pub async fn put(
        &self,
        key: &[u8],
        value: impl Into<Bytes>,
        condition: Condition,
    ) -> Result<PutReply, ClientError> {
        let mut call = Call::new(Method::PUT, key_target(key), Effect::Command);
        call.body = Content::Bytes(value.into());
        self.call(call.with_condition(condition)).await
    }

    /// Reads a key; `None` when it is not there. As of `revision`, or now.
    pub async fn get(
        &self,
        key: &[u8],
        revision: Option<u64>,
        consistency: Consistency,
    ) -> Result<Option<GetReply>, ClientError> {
        let mut target = format!("{}?consistency={}", key_target(key), consistency.as_str());
        if let Some(revision) = revision {
            write!(target, "&revision={revision}").expect("a string takes what is written");
        }
        match self
            .call(Call::new(Method::GET, target, Effect::Read))
            .await
        {
            Ok(reply) => Ok(Some(reply)),
            Err(error) if error.refusal() == Some(ProblemKind::KeyNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a key; not an error when it is not there.
    pub async fn delete(
        &self,
        key: &[u8],
        condition: Condition,
    ) -> Result<DeleteReply, ClientError> {
        let call = Call::new(Method::DELETE, key_target(key), Effect::Command);
        self.call(call.with_condition(condition)).await
    }

    /// Deletes many keys at once.
    pub async fn delete_range(&self, keys: &KeySet) -> Result<DeleteReply, ClientError> {
        let target = format!("/v1/kv/range?{}", key_set_query(keys));
        self.call(Call::new(Method::DELETE, target, Effect::Command))
            .await
    }

    /// Reads many keys.
    pub async fn range(&self, query: &RangeQuery) -> Result<RangeReply, ClientError> {
        let mut target = format!(
            "/v1/kv/range?{}&consistency={}",
            key_set_query(&query.keys),
            query.consistency.as_str()
        );
        let numbers = [("limit", query.limit), ("revision", query.revision)];
        for (name, number) in numbers {
            if let Some(number) = number {
                write!(target, "&{name}={number}").expect("a string takes what is written");
            }
        }
        let switches = [
            ("keys_only", query.keys_only),
            ("count_only", query.count_only),
        ];
        for (name, _) in switches.into_iter().filter(|(_, on)| *on) {
            write!(target, "&{name}=true").expect("a string takes what is written");
        }
        self.call(Call::new(Method::GET, target, Effect::Read))
            .await
    }

    /// Carries out a transaction.
    pub async fn txn(&self, request: &TxnRequest) -> Result<TxnReply, ClientError> {
        let call = Call::new(Method::POST, "/v1/kv/txn", Effect::Command);
        self.call(call.json(request)).await
    }

    /// Forgets what was before `revision`.
    pub async fn compact(&self, revision: u64) -> Result<CompactReply, ClientError> {
        let call = Call::new(Method::POST, "/v1/kv/compact", Effect::Command);
        self.call(call.json(&CompactRequest { revision })).await
    }

    /// Watches keys from `from` on, or from now on.
    pub fn watch(&self, keys: KeySet, from: Option<u64>) -> Watch {
        Watch::new(self.clone(), keys, from)
    }

    /// A look at the node at `endpoint`; one attempt, whatever [`ClientConfig::retry`] says.
    pub async fn status(&self, endpoint: &str) -> Result<StatusReply, ClientError> {
        self.ask(endpoint, "/v1/status").await
    }

    /// The same with a digest of the whole replicated state, which takes time in proportion to it.
    pub async fn status_with_digest(&self, endpoint: &str) -> Result<StatusReply, ClientError> {
        self.ask(endpoint, "/v1/status?digest=true").await
    }

    /// Asks the leader to hand its office to node `to`; whether it happens is seen in the status.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), ClientError> {
        let call = Call::new(Method::POST, "/v1/cluster/transfer", Effect::Read);
        self.with_retries(&call.json(&TransferRequest { to }), None)
            .await
            .map(|_| ())
    }

    /// The endpoints as they were given.
    pub fn endpoints(&self) -> &[String] {
        &self.shared.config.endpoints
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        target: &str,
    ) -> Result<T, ClientError> {
        let call = Call::new(Method::GET, target, Effect::Read);
        decode(&self.attempt(endpoint, &call, None).await?)
    }

    async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let is_command = call.effect == Effect::Command;
        let answer = if is_command && self.shared.config.sessions == Sessions::Own {
            self.in_session(&call).await?
        } else {
            self.with_retries(&call, None).await?
        };
        decode(&answer)
    }

    /// A command with the session's next number. After an unknown end the next command begins a new session; when the
    /// cluster does not know the session (any more), this one does, once.
    ///
    /// The ticket is taken before anything is sent and put back, advanced, when the end is known. Whoever drops the call
    /// meanwhile leaves the session behind: its number may have been used, and must not name another command.
    async fn in_session(&self, call: &Call) -> Result<Answer, ClientError> {
        let mut place = self.shared.session.lock().await;
        let mut ticket = match place.next.take() {
            Some(ticket) => ticket,
            None => self.shared.draw_session(place.opens_at),
        };
        let mut result = self.with_retries(call, Some(ticket)).await;
        if let Err(ClientError::Refused(problem)) = &result
            && problem.kind == ProblemKind::UnknownSession
        {
            let index = problem.extra.get("index").and_then(|index| index.as_u64());
            place.opens_at = place.opens_at.max(index.unwrap_or(0));
            ticket = self.shared.draw_session(place.opens_at);
            result = self.with_retries(call, Some(ticket)).await;
        }
        if !matches!(result, Err(ClientError::Unknown(_))) {
            ticket.sequence += 1;
            place.next = Some(ticket);
        }
        result
    }

    async fn with_retries(
        &self,
        call: &Call,
        ticket: Option<Ticket>,
    ) -> Result<Answer, ClientError> {
        let shared = &self.shared;
        let deadline = match shared.config.retry {
            Retry::Never => shared.host.now(),
            Retry::For(patience) => shared.host.now().saturating_add(patience),
        };
        let is_named = |(name, _): &(HeaderName, String)| name == IDEMPOTENCY_KEY_HEADER;
        let is_named = ticket.is_some() || call.headers.iter().any(is_named);
        let is_repeatable = call.effect == Effect::Read || is_named;
        let mut unknown = None;
        for attempt in 0.. {
            let error = match self.attempt(shared.endpoint(), call, ticket).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let goes_on = match &error {
                ClientError::Unreachable { .. } => true,
                ClientError::Unknown(_) => is_repeatable,
                ClientError::Refused(problem) => is_passing(problem.kind),
            };
            if goes_on {
                shared.rotation.fetch_add(1, Ordering::Relaxed);
            }
            if !error.is_definite() {
                unknown = Some(error.clone());
            }
            if !goes_on || !self.pause(attempt, deadline).await {
                return Err(overall(error, unknown));
            }
        }
        unreachable!("the attempts are not counted to an end")
    }

    /// Waits before the attempt after `attempt`; not after `deadline`, and `false` then.
    async fn pause(&self, attempt: usize, deadline: Moment) -> bool {
        let shared = &self.shared;
        let rounds = attempt / shared.config.endpoints.len();
        let longest = LONGEST_PAUSE.min(FIRST_PAUSE * 2u32.saturating_pow(rounds as u32));
        let jitter = shared
            .rng
            .lock()
            .expect("no panic under this lock")
            .next_u32();
        let pause = longest.mul_f64(0.5 + f64::from(jitter) / f64::from(u32::MAX) / 2.0);
        let resume = shared.host.now().saturating_add(pause);
        if resume >= deadline {
            return false;
        }
        shared.host.clock.sleep_until(resume).await;
        true
    }

    async fn attempt(
        &self,
        endpoint: &str,
        call: &Call,
        ticket: Option<Ticket>,
    ) -> Result<Answer, ClientError> {
        let answer = self
            .shared
            .connections
            .exchange(endpoint, call, ticket)
            .await;
        let answer = answer.map_err(|failed| match failed {
            Failed::BeforeSending(detail) => ClientError::Unreachable {
                endpoint: endpoint.to_owned(),
                detail,
            },
            Failed::AfterSending(detail) => ClientError::Unknown(format!("{endpoint}: {detail}")),
        })?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(refusal(&answer))
    }
}

/// The error of a call whose last attempt ended with `error`, and of which an earlier attempt may have succeeded.
fn overall(error: ClientError, unknown: Option<ClientError>) -> ClientError {
    let outlived = match &error {
        ClientError::Unreachable { .. } => true,
        // The session was forgotten or went on: what became of the earlier attempt is no longer told.
        ClientError::Refused(problem) => {
            is_passing(problem.kind)
                || matches!(
                    problem.kind,
                    ProblemKind::UnknownSession
                        | ProblemKind::StaleSequence
                        | ProblemKind::SequenceReused
                )
        }
        ClientError::Unknown(_) => false,
    };
    match unknown {
        Some(unknown) if outlived => unknown,
        _ => error,
    }
}

/// Whether a refusal has to do with the moment, not with the request.
fn is_passing(kind: ProblemKind) -> bool {
    matches!(
        kind,
        ProblemKind::NoLeader
            | ProblemKind::Overloaded
            | ProblemKind::RateLimited
            | ProblemKind::Unavailable
            | ProblemKind::ReadTimeout
            | ProblemKind::RequestTimeout
    )
}

fn refusal(answer: &Answer) -> ClientError {
    let problem = serde_json::from_slice(&answer.body)
        .ok()
        .and_then(Problem::from_document);
    match problem {
        Some(problem) if problem.kind == ProblemKind::OutcomeUnknown => {
            ClientError::Unknown(problem.detail)
        }
        Some(problem) => ClientError::Refused(problem),
        // Not the words of a node: a proxy may have passed the request on.
        None => ClientError::Unknown(format!("an answer with status {}", answer.status)),
    }
}

fn decode<T: DeserializeOwned>(answer: &Answer) -> Result<T, ClientError> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| ClientError::Unknown(format!("an answer that does not decode: {error}")))
}

fn key_target(key: &[u8]) -> String {
    format!("/v1/kv/keys/{}", percent_encode(key))
}

fn key_set_query(keys: &KeySet) -> String {
    let mut query = String::new();
    let parameters = [
        ("key", &keys.key),
        ("prefix", &keys.prefix),
        ("start", &keys.start),
        ("end", &keys.end),
    ];
    for (name, key) in parameters {
        if let Some(key) = key {
            let separator = if query.is_empty() { "" } else { "&" };
            let key = percent_encode(&key.0);
            write!(query, "{separator}{name}={key}").expect("a string takes what is written");
        }
    }
    query
}

impl Shared {
    fn endpoint(&self) -> &str {
        let endpoints = &self.config.endpoints;
        &endpoints[self.rotation.load(Ordering::Relaxed) % endpoints.len()]
    }

    /// A session's first ticket: the place in the log where it opens, and a random name there.
    fn draw_session(&self, opens_at: u64) -> Ticket {
        let mut rng = self.rng.lock().expect("no panic under this lock");
        Ticket {
            client: u128::from(opens_at) << 64 | u128::from(rng.next_u64()),
            sequence: 1,
        }
    }
}
