//! How people ask the cluster: the REST interface over HTTP, one node after another until one answers.

use super::{CLIENT_PORT, name, stage::Stage};
use bytes::Bytes;
use holdfast_host::Host;
use holdfast_http::{BodyPolicy, Client, ClientConfig, Request, tls::Roots};
use holdfast_links::CheckJob;
use holdfast_sim::draw::Draws;
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use std::{fmt, time::Duration};
use url::Url;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(700);
/// The longest pause between two attempts.
const PAUSE_NS: u64 = 400_000_000;
/// Largest answer.
const MAX_ANSWER: u64 = 8 << 20;

/// Somebody who asks.
pub(super) struct Asker {
    stage: Stage,
    host: Host,
    client: Client,
    /// What this person leaves to chance.
    pub draws: Draws,
}

/// Why something was refused for good.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// The status.
    pub status: StatusCode,
    /// What the problem document says.
    pub detail: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.detail)
    }
}

impl Asker {
    pub(super) fn new(stage: &Stage, host: &Host, draws: Draws) -> Self {
        let mut config = ClientConfig::default();
        config.timeouts.total = ATTEMPT;
        config.timeouts.head = ATTEMPT;
        config.timeouts.body = ATTEMPT;
        config.timeouts.connect = ATTEMPT;
        // Nobody speaks TLS here.
        let client = Client::new(host, config, &Roots::Bundled);
        Asker {
            stage: stage.clone(),
            host: host.clone(),
            client: client.expect("the settings make a client"),
            draws,
        }
    }

    /// One attempt at a node by lot: status, whether it is the answer to an earlier attempt, and body. `None` when
    /// there is no answer.
    async fn attempt(
        &mut self,
        method: &Method,
        path: &str,
        body: &Bytes,
        key: Option<&str>,
    ) -> Option<(StatusCode, bool, Bytes)> {
        let nodes = u64::from(self.stage.world.plan().nodes);
        let node = self.draws.range(0, nodes) as u32;
        let url = Url::parse(&format!("http://{}:{CLIENT_PORT}{path}", name(node)));
        let mut request = Request::new(method.clone(), url.expect("a node has a URL"));
        if let Some(key) = key {
            request = request
                .header("Idempotency-Key", key)
                .and_then(|request| request.header("Content-Type", "application/json"))
                .expect("good headers");
        }
        let request = request.body(body.clone());
        let choose = |_: &_| BodyPolicy::Collect { max: MAX_ANSWER };
        let sent = self.client.send(&request, &choose);
        let response = self.host.timeout(ATTEMPT, sent).await.ok()?.ok()?;
        let was_replayed = response.head.headers.contains_key("idempotent-replayed");
        Some((response.head.status, was_replayed, response.body))
    }

    async fn pause(&mut self) {
        let pause = self.draws.range(PAUSE_NS / 8, PAUSE_NS);
        self.host.sleep(Duration::from_nanos(pause)).await;
    }

    /// Has a job changed: tries under one idempotency key until a node says what became of it. `None` when `until` has
    /// come before.
    pub(super) async fn change(
        &mut self,
        (key, operation): (&str, &str),
        path: &str,
        body: Bytes,
        until: Duration,
    ) -> Option<Result<CheckJob, Refused>> {
        while self.stage.world.now() < until {
            let answer = self.attempt(&Method::POST, path, &body, Some(key)).await;
            match answer {
                Some((status, was_replayed, body)) if status.is_success() => {
                    if was_replayed {
                        self.stage.world.mark("change-replayed");
                    }
                    let job: CheckJob = serde_json::from_slice(&body).expect("a job in JSON");
                    let resource = format!("job {}", job.id);
                    self.stage.acknowledged_change(operation, &resource);
                    return Some(Ok(job));
                }
                Some((status, _, body)) if is_definite(status) => {
                    let detail = String::from_utf8_lossy(&body).into_owned();
                    return Some(Err(Refused { status, detail }));
                }
                _ => self.pause().await,
            }
        }
        None
    }

    /// Reads what was acknowledged before. `None` when the node that was asked does not serve.
    pub(super) async fn read<T: DeserializeOwned>(
        &mut self,
        path: &str,
    ) -> Option<Result<T, Refused>> {
        let (status, _, body) = self
            .attempt(&Method::GET, path, &Bytes::new(), None)
            .await?;
        if status.is_success() {
            return Some(Ok(
                serde_json::from_slice(&body).expect("what was asked for, in JSON")
            ));
        }
        let detail = String::from_utf8_lossy(&body).into_owned();
        is_definite(status).then_some(Err(Refused { status, detail }))
    }
}

/// Whether a refusal has nothing to do with the moment.
fn is_definite(status: StatusCode) -> bool {
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    !status.is_server_error() && !passing.contains(&status)
}
