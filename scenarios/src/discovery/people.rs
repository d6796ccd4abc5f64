//! People: those who store, read and delete blobs at members through the interface, and one who operates the machines.

use super::{
    choose::{BLOBS, CLIENT_PORT, Chosen},
    stage::Stage,
};
use bytes::Bytes;
use holdfast_blobs::BlobId;
use holdfast_host::Host;
use holdfast_http::{BodyPolicy, Client, ClientConfig, Request, Response, tls::Roots};
use holdfast_node::wire::blobs::{BlobReply, BlobsReply};
use holdfast_sim::draw::{Domain, Draws};
use http::{Method, StatusCode};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};
use url::Url;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(20);
/// How long after the last fault people go on.
const AFTERWARDS: Duration = Duration::from_secs(60);
/// How long after the last operation of a disk its machine is off.
const AFTER_A_CUT: Duration = Duration::from_secs(10);
/// Disk operations in which a put may meet a power cut: a start of the draft, some pieces, and what gives it its name.
const PUT_OPERATIONS: u64 = 16;
/// Largest answer beside a blob.
const MAX_ANSWER: u64 = 1 << 20;
/// Entities of [`Domain::Workload`].
const PERSON: u64 = 1 << 52;
const OPERATOR: u64 = 1 << 53;

/// Somebody who asks.
pub(super) struct Person {
    stage: Stage,
    host: Host,
    client: Client,
    /// What this person leaves to chance.
    pub draws: Draws,
    /// How much was asked.
    pub asked: u64,
}

/// Asks until some time after the last fault; how often.
pub(super) async fn ask(stage: Stage, host: Host, number: u32) -> u64 {
    let mut person = Person::new(&stage, &host, number);
    let pause = stage.chosen.pause.as_nanos() as u64;
    while stage.world.now() < stage.world.horizon() + AFTERWARDS {
        let pause = Duration::from_nanos(person.draws.exponential(pause));
        host.sleep(pause).await;
        person.do_something().await;
    }
    person.asked
}

impl Person {
    pub(super) fn new(stage: &Stage, host: &Host, number: u32) -> Person {
        let mut config = ClientConfig {
            accept_encoding: String::new(),
            ..ClientConfig::default()
        };
        config.timeouts.total = ATTEMPT;
        config.timeouts.head = ATTEMPT;
        config.timeouts.body = ATTEMPT;
        config.timeouts.connect = Duration::from_secs(5);
        let client = Client::new(host, config, &Roots::Bundled);
        let entity = PERSON + u64::from(number);
        Person {
            draws: Draws::new(stage.world.plan().seed, Domain::Workload, entity),
            stage: stage.clone(),
            host: host.clone(),
            client: client.expect("the settings make a client"),
            asked: 0,
        }
    }

    fn fail(&self, property: &str, message: String, member: u32) {
        self.stage.world.fail(property, message, Some(member));
    }

    fn mark(&self, name: &str) {
        self.stage.world.mark(name);
    }

    async fn do_something(&mut self) {
        let member = self.draws.range(0, u64::from(self.stage.chosen.count())) as u32;
        let blob = self.draws.range(0, BLOBS as u64) as usize;
        match self.draws.range(0, 22) {
            20.. => self.put_slowly(member, blob).await,
            0..9 => {
                let is_cut = self.stage.chosen.cuts_puts && self.draws.chance(0.25);
                match is_cut && self.stage.world.now() < self.stage.world.horizon() {
                    true => self.put_and_cut(member, blob).await,
                    false => drop(self.put(member, blob).await),
                }
            }
            9..13 => self.get(member, blob).await,
            13..16 => self.get_part(member, blob).await,
            16..18 => drop(self.list(member).await),
            _ => self.delete(member, blob).await,
        }
    }

    /// One attempt. `None` when there is no answer that says anything about the blob.
    async fn attempt(
        &mut self,
        method: Method,
        member: u32,
        path: &str,
        range: Option<(u64, u64)>,
        body: Bytes,
    ) -> Option<Response> {
        self.asked += 1;
        let url = Url::parse(&format!(
            "http://{}:{CLIENT_PORT}{path}",
            super::name(member)
        ));
        let mut request = Request::new(method, url.expect("a member has a URL"));
        if let Some((first, last)) = range {
            let range = request.header("range", &format!("bytes={first}-{last}"));
            request = range.expect("a good header");
        }
        let request = request.body(body);
        let max = MAX_ANSWER.max(self.stage.chosen.limits.blob_bytes + 1);
        let choose = |_: &_| BodyPolicy::Collect { max };
        let sent = self.client.send(&request, &choose);
        let response = self.host.timeout(ATTEMPT, sent).await.ok()?.ok()?;
        let status = response.head.status;
        let is_passing = status.is_server_error()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        (!is_passing).then_some(response)
    }

    /// Stores a blob; the status, when there is an answer.
    pub(super) async fn put(&mut self, member: u32, blob: usize) -> Option<StatusCode> {
        let was_certain = self.stage.ledger().is_certain(member, blob);
        let begun = self.stage.ledger().puts(member, blob);
        let content = self.stage.blobs[blob].content.clone();
        let is_too_large = self.stage.chosen.is_too_large(blob);
        let answer = self.attempt(Method::PUT, member, "/v1/blobs", None, content);
        let response = answer.await?;
        let id = self.stage.blobs[blob].id;
        let status = response.head.status;
        match status {
            StatusCode::OK if !is_too_large => {
                let stored: Option<BlobReply> = serde_json::from_slice(&response.body).ok();
                let length = self.stage.chosen.lengths[blob];
                if !stored
                    .as_ref()
                    .is_some_and(|stored| stored.id == id.to_string() && stored.bytes == length)
                {
                    let message = format!("{id} was put, and {stored:?} stored");
                    self.fail("blob-answer", message, member);
                }
                let now = self.stage.world.now();
                self.stage.ledger().stored(begun, now);
                self.mark(if was_certain {
                    "blob-stored-again"
                } else {
                    "blob-stored"
                });
            }
            StatusCode::PAYLOAD_TOO_LARGE if is_too_large => self.mark("blob-too-large"),
            StatusCode::CONFLICT => self.mark("quota-reached"),
            _ => self.refused("put", blob, member, &response),
        }
        Some(status)
    }

    /// The same, and power fails at some time meanwhile.
    async fn put_and_cut(&mut self, member: u32, blob: usize) {
        let world = self.stage.world.clone();
        world.crash_at_disk_op(member, self.draws.range(0, PUT_OPERATIONS));
        self.put(member, blob).await;
        world.crash_at_disk_op(member, u64::MAX);
        if world.is_running(member) {
            return;
        }
        self.mark("power-cut-in-a-put");
        self.host.sleep(AFTER_A_CUT).await;
        if !world.is_running(member) {
            world.restart(member);
        }
    }

    /// Stores a blob in two parts with a pause between them, or gives it up after the first; a large one, mostly.
    async fn put_slowly(&mut self, member: u32, blob: usize) {
        let blob = if self.draws.chance(0.7) { 0 } else { blob };
        let begun = self.stage.ledger().puts(member, blob);
        let content = self.stage.blobs[blob].content.clone();
        let part = content.len() * self.draws.range(3, 10) as usize / 10;
        let pause = Duration::from_nanos(self.draws.range(1, 20_000_000_000));
        let goes_on = self.draws.chance(0.5);
        self.asked += 1;
        let host = self.host.clone();
        let sent = async {
            let address = provider(member);
            let mut stream = host.network.connect(address).await.ok()?;
            let head = format!(
                "PUT /v1/blobs HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                content.len()
            );
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&content[..part]).await.ok()?;
            host.sleep(pause).await;
            if !goes_on {
                self.mark("upload-given-up");
                return None;
            }
            stream.write_all(&content[part..]).await.ok()?;
            let mut answer = Vec::new();
            let limited = stream.take(MAX_ANSWER).read_to_end(&mut answer).await;
            limited.ok().map(|_| answer)
        };
        let answer = self.host.timeout(2 * ATTEMPT, sent).await;
        if let Ok(Some(answer)) = answer
            && answer.starts_with(b"HTTP/1.1 200 ")
        {
            let now = self.stage.world.now();
            self.stage.ledger().stored(begun, now);
        }
    }

    pub(super) async fn get(&mut self, member: u32, blob: usize) {
        let content = self.stage.blobs[blob].content.clone();
        let all = (0, content.len() as u64);
        if let Some(response) = self.read(member, blob, None).await {
            self.check_read(member, blob, &response, all);
        }
    }

    async fn get_part(&mut self, member: u32, blob: usize) {
        let length = self.stage.chosen.lengths[blob];
        if length == 0 {
            return;
        }
        let first = self.draws.range(0, length);
        let last = first + self.draws.magnitude(1, length) - 1;
        if let Some(response) = self.read(member, blob, Some((first, last))).await {
            self.check_read(member, blob, &response, (first, (last + 1).min(length)));
            if response.head.status == StatusCode::PARTIAL_CONTENT {
                self.mark("part-read");
            }
        }
    }

    async fn read(
        &mut self,
        member: u32,
        blob: usize,
        range: Option<(u64, u64)>,
    ) -> Option<Response> {
        let begun = self.stage.ledger().looks(member, blob);
        let started = self.stage.start_of(member);
        let id = self.stage.blobs[blob].id;
        let path = format!("/v1/blobs/{id}");
        let answer = self.attempt(Method::GET, member, &path, range, Bytes::new());
        let response = answer.await?;
        let must = self.stage.ledger().must_be_there(begun);
        match response.head.status {
            StatusCode::NOT_FOUND if must => {
                let message = format!("{id} was stored, and is not there");
                self.fail("blob-lost", message, member);
            }
            StatusCode::OK | StatusCode::PARTIAL_CONTENT if must && started > 1 => {
                self.mark("blob-there-after-a-restart");
            }
            _ => {}
        }
        Some(response)
    }

    fn check_read(&self, member: u32, blob: usize, response: &Response, (from, to): (u64, u64)) {
        let content = &self.stage.blobs[blob].content;
        let id = self.stage.blobs[blob].id;
        let right = content.slice(from as usize..to as usize);
        match response.head.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                if response.body != right {
                    let bytes = response.body.len();
                    let message = format!("bytes {from} to {to} of {id} are {bytes} other ones");
                    self.fail("blob-bytes", message, member);
                }
                if !self.stage.ledger().was_put(member, blob) {
                    let message = format!("{id} is given, and was never put");
                    self.fail("never-put", message, member);
                }
            }
            StatusCode::NOT_FOUND => {}
            _ => self.refused("get", blob, member, response),
        }
    }

    async fn delete(&mut self, member: u32, blob: usize) {
        self.stage.ledger().removes(member, blob);
        let path = format!("/v1/blobs/{}", self.stage.blobs[blob].id);
        let answer = self.attempt(Method::DELETE, member, &path, None, Bytes::new());
        let response = answer.await;
        let now = self.stage.world.now();
        let is_answered = response.is_some();
        self.stage.ledger().removed(member, blob, is_answered, now);
        match response {
            Some(response) if response.head.status == StatusCode::NO_CONTENT => {
                self.mark("blob-deleted");
            }
            Some(response) if response.head.status != StatusCode::NOT_FOUND => {
                self.refused("delete", blob, member, &response);
            }
            _ => {}
        }
    }

    /// The blobs that a member has, all pages; checked against what was put.
    pub(super) async fn list(&mut self, member: u32) -> Option<Vec<BlobReply>> {
        let begun: Vec<_> = (0..BLOBS)
            .map(|blob| self.stage.ledger().looks(member, blob))
            .collect();
        let mut listed: Vec<BlobReply> = Vec::new();
        let mut path = "/v1/blobs?limit=5".to_owned();
        loop {
            let answer = self.attempt(Method::GET, member, &path, None, Bytes::new());
            let response = answer.await?;
            if response.head.status != StatusCode::OK {
                self.refused("list", 0, member, &response);
                return None;
            }
            let page: BlobsReply = serde_json::from_slice(&response.body).ok()?;
            listed.extend(page.blobs);
            match page.next {
                Some(next) => path = format!("/v1/blobs?limit=5&cursor={next}"),
                None => break,
            }
        }
        if !listed.is_sorted_by(|a, b| a.id < b.id) {
            let message = format!("a list of blobs is out of order: {listed:?}");
            self.fail("blob-list", message, member);
        }
        for (blob, begun) in begun.into_iter().enumerate() {
            let id = self.stage.blobs[blob].id;
            let is_listed = listed.iter().any(|one| one.id == id.to_string());
            if !is_listed && self.stage.ledger().must_be_there(begun) {
                let message = format!("{id} was stored, and is not listed");
                self.fail("blob-lost", message, member);
            }
        }
        for one in &listed {
            let blob = one
                .id
                .parse()
                .ok()
                .and_then(|id: BlobId| self.stage.blob_of(id));
            let is_right = blob.is_some_and(|blob| {
                one.bytes == self.stage.chosen.lengths[blob]
                    && self.stage.ledger().was_put(member, blob)
            });
            if !is_right {
                self.fail("never-put", format!("it lists {one:?}"), member);
            }
        }
        Some(listed)
    }

    fn refused(&self, what: &str, blob: usize, member: u32, response: &Response) {
        let detail = String::from_utf8_lossy(&response.body);
        let status = response.head.status;
        let id = self.stage.blobs[blob].id;
        let message = format!("to {what} {id}: {status}: {detail}");
        self.fail("refusal", message, member);
    }
}

/// Stops machines in order, which are started again as a supervisor would.
pub(super) async fn operate(stage: Stage, host: Host, stops: Arc<Vec<Notify>>) {
    let world = &stage.world;
    let plan = world.plan();
    let mut draws = Draws::new(plan.seed, Domain::Workload, OPERATOR);
    let pause = (world.horizon() / 8).as_nanos() as u64;
    if !draws.chance(0.7) {
        return;
    }
    loop {
        let rest = world.horizon().saturating_sub(world.now());
        let pause = Duration::from_nanos(draws.exponential(pause).max(1));
        if pause + ATTEMPT > rest {
            return;
        }
        host.sleep(pause).await;
        // Members, who may move, rather than others.
        let among = match draws.chance(0.6) {
            true => stage.chosen.count(),
            false => plan.nodes,
        };
        let node = draws.range(0, u64::from(among)) as u32;
        stops[node as usize].notify_waiters();
    }
}

/// Where a member gives its blobs.
pub(super) fn provider(member: u32) -> std::net::SocketAddr {
    Chosen::client_address(member)
}
