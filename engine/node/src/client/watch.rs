use super::{
    Call, Client, ClientError, Effect, Failed, Retry,
    connection::{Answer, Opened, read_answer},
    key_set_query, refusal,
};
use crate::{
    http::{Problem, ProblemKind},
    wire::{KeySet, WatchEvent, WatchLine},
};
use bytes::{Bytes, BytesMut};
use holdfast_host::{Host, Moment};
use http::Method;
use http_body_util::BodyExt;
use std::{sync::atomic::Ordering, time::Duration};

/// Longest line that is read: one revision's events.
const MAX_LINE_BYTES: usize = 64 << 20;
/// The least time that a watch is listened to, however long it was not: what came meanwhile waits to be read.
const LISTEN: Duration = Duration::from_millis(100);

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchItem {
    /// Everything that one revision changed among the watched keys.
    Events {
        /// The revision; higher than that of every item before.
        revision: u64,
        /// In the order in which they happened.
        events: Vec<WatchEvent>,
    },
    /// Everything up to this revision has been told.
    Progress {
        /// The revision.
        revision: u64,
    },
}

/// A watch that outlives connections and nodes: it goes on elsewhere from the revision after the last one told, so
/// that no event is missed or told twice.
pub struct Watch {
    client: Client,
    keys: KeySet,
    /// The revision from which events have not been told; `None` until a node has said where the watch begins.
    next: Option<u64>,
    lines: Option<Lines>,
    /// How often a node has accepted it.
    connections: u64,
}

impl Watch {
    pub(super) fn new(client: Client, keys: KeySet, from: Option<u64>) -> Self {
        Watch {
            client,
            keys,
            next: from,
            lines: None,
            connections: 0,
        }
    }

    /// The revision from which events have not been told; `None` before the first node has answered.
    pub fn next_revision(&self) -> Option<u64> {
        self.next
    }

    /// How often a node has accepted this watch: above one when it was resumed.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Waits for the next item. When this is dropped while it waits, nothing is lost: a later call goes on.
    ///
    /// # Errors
    /// [`ProblemKind::Compacted`] when events are missing for good: read the keys anew. Otherwise what went wrong
    /// with the last node tried, when all were tried for as long as the client's [`Retry`] says, counted from the
    /// first failure: a watch may be quiet for any time before.
    pub async fn next(&mut self) -> Result<WatchItem, ClientError> {
        let host = self.client.shared.host.clone();
        let patience = match self.client.shared.config.retry {
            Retry::Never => Duration::ZERO,
            Retry::For(patience) => patience,
        };
        let mut deadline = None;
        let mut attempt = 0;
        loop {
            let error = match self.read_on().await {
                Ok(item) => return Ok(item),
                Err(error) => error,
            };
            self.lines = None;
            let is_final = match &error {
                ClientError::Refused(problem) => !super::is_passing(problem.kind),
                ClientError::Unknown(_) | ClientError::Unreachable { .. } => false,
            };
            if !is_final {
                self.client.shared.rotation.fetch_add(1, Ordering::Relaxed);
            }
            let deadline = *deadline.get_or_insert_with(|| host.now().saturating_add(patience));
            if is_final || !self.client.pause(attempt, deadline).await {
                return Err(error);
            }
            attempt += 1;
        }
    }

    async fn read_on(&mut self) -> Result<WatchItem, ClientError> {
        loop {
            if self.lines.is_none() {
                self.lines = Some(self.connect().await?);
                self.connections += 1;
            }
            // It stays where it is while it is waited for: whoever drops this call keeps the connection.
            let lines = self.lines.as_mut().expect("it was just there");
            let shared = &self.client.shared;
            let silent = shared.host.now().since(lines.heard_at);
            let left = shared.config.watch_silence.saturating_sub(silent);
            let line = shared
                .host
                .timeout(left.max(LISTEN), lines.next(&shared.host))
                .await
                .unwrap_or_else(|_| Err("the watch fell silent".to_owned()))
                .map_err(ClientError::Unknown)?;
            match line {
                WatchLine::Created { from_revision, .. } => {
                    self.next.get_or_insert(from_revision);
                }
                WatchLine::Events { revision, events } => {
                    let is_news = self.next.is_none_or(|next| revision >= next);
                    if !is_news {
                        return Err(ClientError::Unknown(format!(
                            "the watch told revision {revision} again"
                        )));
                    }
                    self.next = Some(revision + 1);
                    return Ok(WatchItem::Events { revision, events });
                }
                WatchLine::Progress { revision } => {
                    self.next = self.next.max(Some(revision + 1));
                    return Ok(WatchItem::Progress { revision });
                }
                WatchLine::Compacted { compact_revision } => {
                    let problem = Problem::new(ProblemKind::Compacted, "events are compacted away")
                        .with("compact_revision", compact_revision);
                    return Err(ClientError::Refused(problem));
                }
                WatchLine::Closing { detail } => return Err(ClientError::Unknown(detail)),
            }
        }
    }

    async fn connect(&self) -> Result<Lines, ClientError> {
        let mut target = format!("/v1/kv/watch?{}", key_set_query(&self.keys));
        if let Some(from) = self.next {
            target.push_str(&format!("&from_revision={from}"));
        }
        let call = Call::new(Method::GET, target, Effect::Read);
        Ok(Lines {
            opened: open(&self.client, &call).await?,
            buffer: BytesMut::new(),
            searched: 0,
            heard_at: self.client.shared.host.now(),
        })
    }
}

/// Begins an answer that is read as it comes, at the endpoint whose turn it is; one attempt.
pub(super) async fn open(client: &Client, call: &Call) -> Result<Opened, ClientError> {
    let shared = &client.shared;
    let endpoint = shared.endpoint().to_owned();
    let opened = shared.connections.open(&endpoint, call).await;
    let opened = opened.map_err(|failed| match failed {
        Failed::BeforeSending(detail) | Failed::AfterSending(detail) => {
            ClientError::Unreachable { endpoint, detail }
        }
    })?;
    if opened.1.is_success() {
        return Ok(opened);
    }
    let (_sender, status, body) = opened;
    let body = shared
        .host
        .timeout(shared.config.attempt_timeout, read_answer(body))
        .await
        .unwrap_or_else(|_| Ok(Bytes::new()))
        .unwrap_or_default();
    Err(refusal(&Answer { status, body }))
}

/// A body that is read line by line.
struct Lines {
    opened: Opened,
    buffer: BytesMut,
    /// So much of the buffer holds no end of a line.
    searched: usize,
    heard_at: Moment,
}

impl Lines {
    async fn next(&mut self, host: &Host) -> Result<WatchLine, String> {
        loop {
            let mut rest = self.buffer[self.searched..].iter();
            if let Some(at) = rest.position(|b| *b == b'\n') {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                return serde_json::from_slice(&line)
                    .map_err(|error| format!("a watch line does not decode: {error}"));
            }
            self.searched = self.buffer.len();
            let frame = self.opened.2.frame().await;
            self.heard_at = host.now();
            let frame = frame
                .ok_or("the watch ended")?
                .map_err(|error| format!("the watch broke off: {error}"))?;
            if let Some(data) = frame.data_ref() {
                if self.buffer.len() + data.len() > MAX_LINE_BYTES {
                    return Err(format!("a watch line of more than {MAX_LINE_BYTES} bytes"));
                }
                self.buffer.extend_from_slice(data);
            }
        }
    }
}
