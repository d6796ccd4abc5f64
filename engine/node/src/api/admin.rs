use super::{Api, Call, Problem, ProblemKind, json_reply};
use crate::{
    http::{Query, ReplyBody},
    metrics::{Kind, Page},
    wire::{Consistency, StatusReply, TransferRequest},
};
use holdfast_raft::Role;
use holdfast_replica::{Rejection, RequestError, Status};
use http::{HeaderValue, Response, StatusCode, header};
use std::{sync::atomic::Ordering, time::Duration};

/// How long a node may take to confirm that it is ready: who asks has a patience of its own, often of one second.
const READY_WITHIN: Duration = Duration::from_millis(500);

impl Api {
    pub(super) async fn status(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let mut query = Query::parse(call.head.uri.query())?;
        let wants_digest = query.switch("digest")?;
        query.finish()?;
        let status = if wants_digest {
            self.replica.status_with_digest().await
        } else {
            self.replica.status().await
        };
        let status = status.map_err(|error| self.unable(error))?;
        let store = self.read(Consistency::Stale).await?;
        Ok(json_reply(&StatusReply {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: self.about.cluster.clone(),
            cluster_id: format!("{:016x}", self.about.cluster_id),
            node: self.about.node,
            members: self.about.members.clone(),
            role: role_name(status.role).to_owned(),
            term: status.term,
            leader: status.leader,
            commit: status.commit,
            applied: status.applied,
            first_index: status.first_index,
            last_index: status.last_index,
            snapshot_index: status.snapshot_index,
            revision: store.revision(),
            compact_revision: store.compact_revision(),
            keys: store.key_count(),
            digest: status.digest.map(|digest| format!("{digest:016x}")),
            failed: self.failure(),
        }))
    }

    pub(super) async fn transfer(
        &self,
        mut call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let request: TransferRequest = self.json(&mut call).await?;
        if !self.about.members.contains_key(&request.to) {
            return Err(Problem::bad_request(format!(
                "node {} is no member of this cluster",
                request.to
            )));
        }
        let asked = self.replica.transfer_leader(request.to);
        asked.map_err(super::refusal)?;
        let mut response = json_reply(&request);
        // Asked for, not done: the status tells whether it happened.
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok(response)
    }

    /// The process lives and its storage has not failed.
    pub(super) fn health(&self) -> Result<Response<ReplyBody>, Problem> {
        match self.failure() {
            None => Ok(text_reply("ok\n", "text/plain; charset=utf-8")),
            Some(failure) => Err(Problem::new(ProblemKind::Unavailable, failure)),
        }
    }

    /// Requests sent here are served: a linearizable read is at this moment, and the node is not leaving.
    pub(super) async fn ready(&self) -> Result<Response<ReplyBody>, Problem> {
        self.health()?;
        if self.is_draining.load(Ordering::Relaxed) {
            return Err(Problem::new(
                ProblemKind::Unavailable,
                "the node is stopping",
            ));
        }
        let read = self
            .replica
            .read(holdfast_replica::Consistency::Linearizable);
        match self.host.timeout(READY_WITHIN, read).await {
            Ok(Ok(_)) => {}
            Ok(Err(RequestError::Rejected(Rejection::TimedOut))) | Err(_) => {
                let detail = "no quorum confirms that this node's state is current";
                return Err(Problem::new(ProblemKind::Unavailable, detail));
            }
            Ok(Err(error)) => return Err(self.unable(error)),
        }
        Ok(text_reply("ok\n", "text/plain; charset=utf-8"))
    }

    pub(super) async fn metrics_page(&self) -> Result<Response<ReplyBody>, Problem> {
        let mut page = Page::new();
        self.metrics.write(&mut page);
        self.write_connections(&mut page);
        page.gauge(
            "holdfast_failed",
            "1 when storage has failed for good.",
            f64::from(u8::from(self.failure().is_some())),
        );
        // A replica that has stopped has no numbers; the others still tell something.
        if let Ok(status) = self.replica.status().await {
            write_replica(&mut page, &status);
        }
        if let Ok(store) = self.read(Consistency::Stale).await {
            page.gauge(
                "holdfast_kv_revision",
                "The store's revision.",
                store.revision() as f64,
            );
            page.gauge(
                "holdfast_kv_compact_revision",
                "The oldest readable revision.",
                store.compact_revision() as f64,
            );
            page.gauge(
                "holdfast_kv_keys",
                "Keys in the store.",
                store.key_count() as f64,
            );
        }
        Ok(text_reply(
            page.into_text(),
            "text/plain; version=0.0.4; charset=utf-8",
        ))
    }

    fn write_connections(&self, page: &mut Page) {
        let http = &self.http;
        page.gauge(
            "holdfast_http_connections",
            "Client connections that are open.",
            http.open.load(Ordering::Relaxed) as f64,
        );
        page.counter(
            "holdfast_http_connections_total",
            "Client connections accepted.",
            http.accepted.load(Ordering::Relaxed) as f64,
        );
        page.counter(
            "holdfast_http_connections_broken_total",
            "Client connections that ended with a protocol error.",
            http.broken.load(Ordering::Relaxed) as f64,
        );
        page.counter(
            "holdfast_tls_handshakes_failed_total",
            "Client connections that ended before their TLS handshake was over.",
            http.unshaken.load(Ordering::Relaxed) as f64,
        );
        page.counter(
            "holdfast_audit_records_total",
            "Changes that were asked for, carried out or refused.",
            self.audit_log.records() as f64,
        );
        page.gauge(
            "holdfast_watches",
            "Watches that are open.",
            self.watches.open() as f64,
        );
    }

    /// Why the replica has failed for good, once it has; it takes nothing any more.
    pub(super) fn failure(&self) -> Option<String> {
        self.replica.failed().borrow().clone()
    }

    /// Why the replica did not answer: it has stopped, perhaps because its storage failed, or cannot now.
    fn unable(&self, error: RequestError) -> Problem {
        match (error, self.failure()) {
            (RequestError::Stopped, Some(failure)) => {
                Problem::new(ProblemKind::Unavailable, failure)
            }
            (error, _) => super::refusal(error),
        }
    }
}

fn text_reply(text: impl Into<bytes::Bytes>, media_type: &'static str) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(text));
    let media_type = HeaderValue::from_static(media_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    response
}

const ROLES: [(Role, &str); 4] = [
    (Role::Leader, "leader"),
    (Role::Follower, "follower"),
    (Role::PreCandidate, "pre-candidate"),
    (Role::Candidate, "candidate"),
];

fn role_name(role: Role) -> &'static str {
    let named = ROLES.iter().find(|(one, _)| *one == role);
    named.expect("every role has a name").1
}

fn write_replica(page: &mut Page, status: &Status) {
    page.family(
        "holdfast_raft_role",
        Kind::Gauge,
        "1 for what the node is in its term.",
    );
    for (role, name) in ROLES {
        page.sample(&[("role", name)], f64::from(u8::from(role == status.role)));
    }
    let storage = &status.storage;
    let gauges = [
        ("holdfast_raft_term", "The term.", status.term),
        (
            "holdfast_raft_leader",
            "The leader's number, 0 when unknown.",
            status.leader.unwrap_or(0),
        ),
        (
            "holdfast_raft_commit_index",
            "The commit index known here.",
            status.commit,
        ),
        (
            "holdfast_raft_applied_index",
            "The last index applied here.",
            status.applied,
        ),
        (
            "holdfast_raft_first_index",
            "The first index in the log.",
            status.first_index,
        ),
        (
            "holdfast_raft_last_index",
            "The last index in the log.",
            status.last_index,
        ),
        (
            "holdfast_raft_snapshot_index",
            "The index of the newest snapshot.",
            status.snapshot_index,
        ),
        (
            "holdfast_pending_requests",
            "Requests that wait for their outcome.",
            status.pending as u64,
        ),
        (
            "holdfast_sessions",
            "Client sessions remembered.",
            status.sessions as u64,
        ),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, value as f64);
    }
    let counters = [
        (
            "holdfast_log_syncs_total",
            "Group commits.",
            storage.syncs as f64,
        ),
        (
            "holdfast_log_commands_total",
            "Store commands that group commits carried.",
            storage.commands as f64,
        ),
        (
            "holdfast_log_sync_seconds_total",
            "Time that group commits took.",
            storage.sync_time.as_secs_f64(),
        ),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, value);
    }
    page.gauge(
        "holdfast_log_slowest_sync_seconds",
        "Time that the slowest group commit took.",
        storage.slowest_sync.as_secs_f64(),
    );
    page.family(
        "holdfast_replica_events_total",
        Kind::Counter,
        "What happened to the replica, by kind.",
    );
    for (event, count) in &status.counters {
        page.sample(&[("event", event)], *count as f64);
    }
}
