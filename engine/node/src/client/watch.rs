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
use http::Method;
use http_body_util::BodyExt;
use std::{sync::atomic::Ordering, time::Duration};

/// Longest line that is read: one revision's events.
const MAX_LINE_BYTES: usize = 64 << 20;
/// How long a watch may be silent before it is taken for dead and begun anew elsewhere. Nodes give a sign of life
/// more often.
const SILENCE: Duration = Duration::from_secs(20);

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

    /// Waits for the next item.
    ///
    /// # Errors
    /// [`ProblemKind::Compacted`] when events are missing for good: read the keys anew. Otherwise what went wrong
    /// with the last node tried, when all were tried for as long as the client's [`Retry`] says.
    pub async fn next(&mut self) -> Result<WatchItem, ClientError> {
        let host = self.client.shared.host.clone();
        let patience = match self.client.shared.config.retry {
            Retry::Never => Duration::ZERO,
            Retry::For(patience) => patience,
        };
        let deadline = host.now().saturating_add(patience);
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
            if is_final || !self.client.pause(attempt, deadline).await {
                return Err(error);
            }
            attempt += 1;
        }
    }

    async fn read_on(&mut self) -> Result<WatchItem, ClientError> {
        loop {
            let mut lines = match self.lines.take() {
                Some(lines) => lines,
                None => {
                    let lines = self.connect().await?;
                    self.connections += 1;
                    lines
                }
            };
            let host = &self.client.shared.host;
            let line = host
                .timeout(SILENCE, lines.next())
                .await
                .unwrap_or_else(|_| Err("the watch fell silent".to_owned()))
                .map_err(ClientError::Unknown)?;
            self.lines = Some(lines);
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
        let shared = &self.client.shared;
        let endpoint = shared.endpoint().to_owned();
        let opened = shared.connections.open(&endpoint, &call).await;
        let opened = opened.map_err(|failed| match failed {
            Failed::BeforeSending(detail) | Failed::AfterSending(detail) => {
                ClientError::Unreachable { endpoint, detail }
            }
        })?;
        if opened.1.is_success() {
            return Ok(Lines {
                opened,
                buffer: BytesMut::new(),
            });
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
}

/// A body that is read line by line.
struct Lines {
    opened: Opened,
    buffer: BytesMut,
}

impl Lines {
    async fn next(&mut self) -> Result<WatchLine, String> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(searched + at + 1);
                return serde_json::from_slice(&line)
                    .map_err(|error| format!("a watch line does not decode: {error}"));
            }
            searched = self.buffer.len();
            let frame = self.opened.2.frame().await;
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
