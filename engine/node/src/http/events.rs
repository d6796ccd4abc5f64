//! Server-sent events (WHATWG HTML, §9.2): progress that a client is told of as it happens.

use super::{Problem, ReplyBody};
use crate::race::{First, first};
use bytes::Bytes;
use holdfast_host::{Host, Moment};
use http::{HeaderMap, HeaderValue, Response, header};
use std::{borrow::Cow, future::Future, pin::pin, str::FromStr, time::Duration};
use tokio::sync::mpsc;

/// Where a client that lost its stream goes on.
pub const LAST_EVENT_ID_HEADER: &str = "last-event-id";
/// The media type of a stream.
pub const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// One event, written by [`Event::write`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// What kind it is; a `message` when nothing is said. On one line.
    pub name: Option<&'a str>,
    /// Where a client that loses the stream after this event goes on. On one line.
    pub id: Option<&'a str>,
    /// How long a client waits before it comes back after losing the stream, from now on.
    pub retry: Option<Duration>,
    /// What happened.
    pub data: &'a str,
}

impl Event<'_> {
    /// Appends the event.
    ///
    /// # Panics
    /// When a name or an id has a line break, or an id a NUL: a client would take the rest for something else.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (field, value) in [("event", self.name), ("id", self.id)] {
            let Some(value) = value else { continue };
            assert!(!value.contains(['\r', '\n', '\0']), "{field}: {value:?}");
            write_field(field, value, out);
        }
        if let Some(retry) = self.retry {
            write_field("retry", &retry.as_millis().to_string(), out);
        }
        // A line break ends a field, whichever of the three it is.
        let data = match self.data.contains('\r') {
            true => Cow::Owned(self.data.replace("\r\n", "\n").replace('\r', "\n")),
            false => Cow::Borrowed(self.data),
        };
        for line in data.split('\n') {
            write_field("data", line, out);
        }
        out.push(b'\n');
    }
}

fn write_field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// Whether a client asks for events rather than for something else.
pub fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut texts = accepted.filter_map(|value| value.to_str().ok());
    texts.any(|text| text.contains("text/event-stream"))
}

/// The id of the last event that a client saw, if it says so.
///
/// # Errors
/// 400 when it is no id of this stream.
pub fn last_event_id<T: FromStr>(headers: &HeaderMap) -> Result<Option<T>, Problem> {
    let Some(last) = headers.get(LAST_EVENT_ID_HEADER) else {
        return Ok(None);
    };
    let last = last.to_str().ok().and_then(|text| text.parse().ok());
    last.map(Some).ok_or_else(|| {
        Problem::bad_request("the header Last-Event-ID must be the id of an event of this stream")
    })
}

/// The client went away, or takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub struct Gone;

/// How an event stream behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// A comment is sent when nothing was for so long: a sign of life, for the client and for what is in between.
    pub heartbeat: Duration,
    /// How long the client may take nothing before it has gone.
    pub patience: Duration,
    /// Most pieces that wait for a slow client.
    pub waiting: usize,
}

/// The writing end of an event stream. The stream ends when it is dropped.
pub struct EventSender {
    host: Host,
    pieces: mpsc::Sender<Bytes>,
    options: StreamOptions,
    sent_at: Moment,
}

impl EventSender {
    /// A stream, and the response that carries it.
    pub fn new(host: &Host, options: StreamOptions) -> (EventSender, Response<ReplyBody>) {
        let (pieces, body) = mpsc::channel(options.waiting.max(1));
        let mut response = Response::new(ReplyBody::Stream(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let sender = EventSender {
            host: host.clone(),
            pieces,
            options,
            sent_at: host.now(),
        };
        (sender, response)
    }

    /// Sends an event, as soon as the client has room for it.
    ///
    /// # Errors
    /// [`Gone`] when it has none for too long, or has gone.
    pub async fn send(&mut self, event: Event<'_>) -> Result<(), Gone> {
        let mut bytes = Vec::new();
        event.write(&mut bytes);
        self.send_bytes(bytes.into()).await
    }

    /// Waits for `what`, and gives signs of life meanwhile.
    ///
    /// # Errors
    /// [`Gone`] when the client goes before that; `what` is dropped.
    pub async fn wait_for<F: Future>(&mut self, what: F) -> Result<F::Output, Gone> {
        let mut what = pin!(what);
        loop {
            let quiet = self.host.now().since(self.sent_at);
            let left = self.options.heartbeat.saturating_sub(quiet);
            let gone = self.pieces.closed();
            match first(gone, self.host.timeout(left, what.as_mut())).await {
                First::One(()) => return Err(Gone),
                First::Other(Ok(output)) => return Ok(output),
                First::Other(Err(_)) => self.send_bytes(Bytes::from_static(b":\n\n")).await?,
            }
        }
    }

    async fn send_bytes(&mut self, bytes: Bytes) -> Result<(), Gone> {
        let sent = self
            .host
            .timeout(self.options.patience, self.pieces.send(bytes));
        sent.await.map_err(|_| Gone)?.map_err(|_| Gone)?;
        self.sent_at = self.host.now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_host::tokio_host;
    use http_body_util::BodyExt;

    fn written(event: Event<'_>) -> String {
        let mut out = Vec::new();
        event.write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn events_are_written_as_the_standard_reads_them() {
        assert_eq!(written(Event::default()), "data: \n\n");
        let event = Event {
            name: Some("progress"),
            id: Some("7"),
            retry: Some(Duration::from_secs(3)),
            data: "one\ntwo\r\nthree\rfour",
        };
        assert_eq!(
            written(event),
            "event: progress\nid: 7\nretry: 3000\ndata: one\ndata: two\ndata: three\ndata: four\n\n"
        );
    }

    #[test]
    #[should_panic(expected = "id")]
    fn an_id_of_two_lines_is_a_mistake() {
        let id = Some("7\ndata: forged");
        written(Event {
            id,
            ..Event::default()
        });
    }

    #[test]
    fn the_last_id_is_read_strictly() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LAST_EVENT_ID_HEADER, HeaderValue::from_static(text));
            last_event_id::<u64>(&headers)
        };
        assert_eq!(last_event_id::<u64>(&HeaderMap::new()), Ok(None));
        assert_eq!(of("7"), Ok(Some(7)));
        for bad in ["", "x", "-1", "7 "] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    fn check(options: StreamOptions, test: impl AsyncFnOnce(&Host, EventSender, ReplyBody)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let host = tokio_host::host(".".into(), runtime.handle().clone());
        let (sender, response) = EventSender::new(&host, options);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );
        runtime.block_on(test(&host, sender, response.into_body()));
    }

    const MS: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_quiet_stream_gives_signs_of_life_until_something_happens() {
        let options = StreamOptions {
            heartbeat: MS * 10,
            patience: LONG,
            waiting: 64,
        };
        check(options, async |host, mut sender, body| {
            let waited = sender.wait_for(host.sleep(MS * 100)).await;
            assert_eq!(waited, Ok(()));
            let event = Event {
                data: "done",
                ..Event::default()
            };
            sender.send(event).await.expect("there is room");
            drop(sender);
            let all = body.collect().await.expect("it ends").to_bytes();
            let text = String::from_utf8(all.to_vec()).expect("text");
            let beats = text
                .strip_suffix("data: done\n\n")
                .expect("the event is last");
            let count = beats.matches(":\n\n").count();
            assert_eq!(beats, ":\n\n".repeat(count));
            assert!((1..=10).contains(&count), "{count}");
        });
    }

    #[test]
    fn a_client_that_goes_or_takes_nothing_ends_its_stream() {
        let options = StreamOptions {
            heartbeat: LONG,
            patience: MS * 20,
            waiting: 1,
        };
        check(options, async |_, mut sender, body| {
            let event = Event::default();
            assert_eq!(sender.send(event).await, Ok(()));
            assert_eq!(
                sender.send(event).await,
                Err(Gone),
                "one waits, and nobody takes it"
            );
            drop(body);
            assert_eq!(
                sender.wait_for(std::future::pending::<()>()).await,
                Err(Gone)
            );
        });
    }
}
