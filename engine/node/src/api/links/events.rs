//! A job's progress as server-sent events.

use super::{Api, Call, Problem, job_id, no_job, tag};
use crate::{
    http::{
        Query, ReplyBody,
        events::{Event, EventSender, Gone, StreamOptions},
    },
    race::{First, first},
    wire::{
        Consistency,
        links::{EventDetail, JobEvent},
    },
};
use holdfast_links::{CheckJob, JobId, query};
use holdfast_replica::RequestError;
use holdfast_tables::{CallError, TablesHandle};
use http::Response;
use std::time::Duration;
use tokio::sync::watch;

/// Least time between two events of one stream.
const GAP: Duration = Duration::from_millis(200);
/// How long a client that lost its stream waits before it comes back.
const RETRY: Duration = Duration::from_secs(1);
/// Most events that wait for a slow client.
const WAITING: usize = 4;

impl Api {
    /// Tells a job's progress.
    pub(in crate::api) async fn links_events(
        &self,
        call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let id = job_id(&call)?;
        Query::parse(call.head.uri.query())?.finish()?;
        let slot = self.watches.admit()?;
        let mut changed = self.tables.changed();
        changed.mark_unchanged();
        let found = self.find_job(Consistency::Linearizable, id).await?;
        let job = found.ok_or_else(|| no_job(id))?;
        // A client that comes back is told how things are now, whatever it saw last: each event tells everything.
        let options = StreamOptions {
            heartbeat: self.limits.watch_progress,
            patience: self.limits.write_timeout,
            waiting: WAITING,
        };
        let (sender, response) = EventSender::new(&self.host, options);
        let follower = Follower {
            api: FollowerApi {
                host: self.host.clone(),
                tables: self.tables.clone(),
            },
            id,
            changed,
            closing: self.watches.closing(),
            sender,
        };
        self.host.spawn("links-events", async move {
            let _slot = slot;
            // Whoever has gone is told nothing.
            let _ = follower.run(job).await;
        });
        Ok(response)
    }
}

struct FollowerApi {
    host: holdfast_host::Host,
    tables: TablesHandle,
}

/// One stream: reads the job whenever the tables have changed, and tells what is new.
struct Follower {
    api: FollowerApi,
    id: JobId,
    changed: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    sender: EventSender,
}

/// What a read has shown.
enum Seen {
    Job(Box<CheckJob>),
    Deleted,
    /// Nothing now: too many requests wait.
    Nothing,
    /// Nothing any more.
    Stopped,
}

impl Follower {
    async fn run(mut self, job: CheckJob) -> Result<(), Gone> {
        let mut told = None;
        let mut seen = Seen::Job(Box::new(job));
        loop {
            match seen {
                Seen::Job(job) if job.status.has_ended() => {
                    return self.tell(&JobEvent::End(job)).await;
                }
                Seen::Job(job) if told.as_ref() != Some(&*job) => {
                    told = Some((*job).clone());
                    self.tell(&JobEvent::Progress(job)).await?;
                }
                Seen::Job(_) | Seen::Nothing => {}
                Seen::Deleted => return self.tell(&JobEvent::Deleted).await,
                Seen::Stopped => return self.close("the replica has stopped").await,
            }
            if !self.wait().await? {
                return self.close("the node is stopping").await;
            }
            seen = self.look().await;
        }
    }

    /// Waits until there may be news and the client may be told again; `false` when the node is to stop.
    async fn wait(&mut self) -> Result<bool, Gone> {
        let (host, changed, closing) =
            (self.api.host.clone(), &mut self.changed, &mut self.closing);
        let news = async {
            host.sleep(GAP).await;
            // Its sender goes with the tables: the next read tells.
            let _ = changed.changed().await;
        };
        let stop = closing.wait_for(|closing| *closing);
        let over = async { matches!(first(stop, news).await, First::Other(())) };
        self.sender.wait_for(over).await
    }

    async fn look(&self) -> Seen {
        let id = self.id;
        let read = self
            .api
            .tables
            .read(holdfast_replica::Consistency::Stale, move |reader| {
                query::find_job(reader, id)
            });
        match read.await {
            Ok(Some(job)) => Seen::Job(Box::new(job)),
            Ok(None) => Seen::Deleted,
            Err(CallError::Request(RequestError::Rejected(_))) => Seen::Nothing,
            Err(error) => {
                tracing::debug!(%error, "a stream of events ends");
                Seen::Stopped
            }
        }
    }

    async fn close(&mut self, detail: &str) -> Result<(), Gone> {
        self.tell(&JobEvent::Closing(detail.to_owned())).await
    }

    async fn tell(&mut self, event: &JobEvent) -> Result<(), Gone> {
        let (name, id, data) = match event {
            JobEvent::Progress(job) => ("progress", event_id(job), json(job)),
            JobEvent::End(job) => ("end", event_id(job), json(job)),
            JobEvent::Deleted => ("deleted", None, detail("the job was deleted")),
            JobEvent::Closing(why) => ("closing", None, detail(why)),
        };
        let event = Event {
            name: Some(name),
            id: id.as_deref(),
            retry: Some(RETRY),
            data: &data,
        };
        self.sender.send(event).await
    }
}

/// The job's tag without its quotes.
fn event_id(job: &CheckJob) -> Option<String> {
    String::from_utf8(tag(job).opaque).ok()
}

fn detail(text: &str) -> String {
    json(&EventDetail {
        detail: text.to_owned(),
    })
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data encodes")
}
