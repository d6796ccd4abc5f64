//! The HTTP client, beside bare connections of hyper's, which it is built on: what pool, turns, bounds and clocks cost.
//! Both ask one server in this process, which answers from memory, over the same host's streams.

use crate::measure::{Result, beside, cpu_seconds, median};
use bytes::Bytes;
use holdfast_host::{Host, Stream, TaskEnd, tokio_host};
use holdfast_http::{
    BodyPolicy, Client, ClientConfig, Head, Limits, OpenGate, Plain, Request,
    rt::{HostExecutor, HostIo, HostTimer},
    tls::Roots,
};
use holdfast_record::worker::BenchRow;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, client, server, service::service_fn};
use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::runtime::Builder;
use url::Url;

/// Short turns and many, so that both meet all the moods of a machine that others use too.
const ROUNDS: usize = 15;
/// Requests of one party in one round.
const REQUESTS: usize = 3_200;
/// Requests under way at once, and bytes of each answer.
const CASES: [(usize, usize); 3] = [(1, 64), (32, 64), (32, 20_000)];
/// No turn of either comes near.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures.
pub fn rows() -> Result<Vec<BenchRow>> {
    // One thread: what is measured is work, and where it is done makes no difference.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let host = tokio_host::host(std::env::temp_dir(), runtime.handle().clone());
    let mut rows = Vec::new();
    for plain in [Plain::Http1, Plain::Http2] {
        for (askers, bytes) in CASES {
            let case = Case {
                plain,
                askers,
                bytes,
            };
            rows.push(runtime.block_on(case.row(&host))?);
        }
    }
    Ok(rows)
}

#[derive(Clone, Copy)]
struct Case {
    plain: Plain,
    askers: usize,
    bytes: usize,
}

impl Case {
    async fn row(self, host: &Host) -> Result<BenchRow> {
        let address = self.serve(host).await?;
        let url = Url::parse(&format!("http://{address}/"))?;
        let limits = Limits {
            max_per_origin: self.askers,
            ..Limits::default()
        };
        let config = ClientConfig {
            plain: self.plain,
            limits,
            ..ClientConfig::default()
        };
        let client = Client::new(host, config, &Roots::Bundled)?;
        let bare = self.connections(host, address).await?;
        let (mut ours, mut rivals) = (Vec::new(), Vec::new());
        // The first round warms up, and opens our connections.
        for round in 0..=ROUNDS {
            let through_client = (0..self.askers).map(|_| {
                let (client, request) = (client.clone(), Request::get(url.clone()));
                host.spawn("asker", async move {
                    for _ in 0..REQUESTS / self.askers {
                        self.check(ask(&client, &request).await);
                    }
                })
            });
            let rate = self.rate(through_client.collect()).await?;
            let through_hyper = bare.iter().map(|sender| {
                let (mut sender, url) = (sender.clone(), url.clone());
                host.spawn("asker", async move {
                    for _ in 0..REQUESTS / self.askers {
                        self.check(sender.ask(&url).await);
                    }
                })
            });
            let rival = self.rate(through_hyper.collect()).await?;
            if round > 0 {
                ours.push(rate);
                rivals.push(rival);
            }
        }
        let version = match self.plain {
            Plain::Http1 => "HTTP/1.1",
            Plain::Http2 => "HTTP/2",
        };
        let (askers, bytes) = (self.askers, self.bytes);
        Ok(beside(
            &format!("{version}, {askers} at a time, {bytes} bytes"),
            median(ours),
            "requests per CPU second",
            ("bare hyper connections", median(rivals)),
            &format!(
                "medians of {ROUNDS} rounds of {REQUESTS} requests, the server's work and the kernel's included in \
                 both, the rival: a connection for each asker (HTTP/2: one for all) that is there already, no pool, \
                 turns, timeouts, bounds or redirects, and three headers fewer"
            ),
        ))
    }

    #[track_caller]
    fn check(self, body: Result<Bytes>) {
        assert_eq!(body.expect("an answer").len(), self.bytes);
    }

    /// Requests a CPU second of tasks that make so many in all.
    async fn rate(self, tasks: Vec<holdfast_host::TaskHandle>) -> Result<f64> {
        let began = cpu_seconds();
        for task in tasks {
            if task.await != TaskEnd::Returned {
                return Err("an asker did not get its answers".into());
            }
        }
        Ok((REQUESTS / self.askers * self.askers) as f64 / (cpu_seconds() - began))
    }

    /// A server that answers every request alike.
    async fn serve(self, host: &Host) -> Result<SocketAddr> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listener = host.network.listen(any).await?;
        let address = listener.local_addr();
        let body = Bytes::from(vec![b'x'; self.bytes]);
        let serving = host.clone();
        host.spawn("listener", async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.spawn(
                    "connection",
                    self.speak(serving.clone(), stream, body.clone()),
                );
            }
        });
        Ok(address)
    }

    /// Serves one connection to its end, which may be an error: the client's last word.
    async fn speak(self, host: Host, stream: Stream, body: Bytes) {
        let service = service_fn(move |_: http::Request<Incoming>| {
            let body = Full::new(body.clone());
            async move { Ok::<_, Infallible>(http::Response::new(body)) }
        });
        let io = HostIo::new(&host, stream, Bytes::new(), PATIENCE);
        let timer = HostTimer::new(&host);
        let _ = match self.plain {
            Plain::Http1 => {
                let mut builder = server::conn::http1::Builder::new();
                builder.timer(timer).serve_connection(io, service).await
            }
            Plain::Http2 => {
                let mut builder = server::conn::http2::Builder::new(HostExecutor(host));
                builder.timer(timer).serve_connection(io, service).await
            }
        };
    }

    /// The rival's connections, one for each asker.
    async fn connections(self, host: &Host, address: SocketAddr) -> Result<Vec<Bare>> {
        let mut all: Vec<Bare> = Vec::new();
        for _ in 0..self.askers {
            let known = all.first().and_then(Bare::shared);
            all.push(match known {
                Some(sender) => sender,
                None => Bare::connect(host, address, self.plain).await?,
            });
        }
        Ok(all)
    }
}

async fn ask(client: &Client, request: &Request) -> Result<Bytes> {
    let all = |_: &Head| BodyPolicy::Collect { max: 1 << 20 };
    let fetched = client.fetch(request, &OpenGate, &all).await;
    Ok(fetched.outcome?.body)
}

type Http1 = client::conn::http1::SendRequest<Empty<Bytes>>;
type Http2 = client::conn::http2::SendRequest<Empty<Bytes>>;

/// One of hyper's connections.
#[derive(Clone)]
enum Bare {
    /// Takes one request at a time, so that it is lent to one asker at a time.
    Http1(std::sync::Arc<tokio::sync::Mutex<Http1>>),
    Http2(Http2),
}

impl Bare {
    async fn connect(host: &Host, address: SocketAddr, plain: Plain) -> Result<Bare> {
        let stream = host.network.connect(address).await?;
        let io = HostIo::new(host, stream, Bytes::new(), PATIENCE);
        Ok(match plain {
            Plain::Http1 => {
                let (sender, connection) = client::conn::http1::handshake(io).await?;
                host.spawn("connection", async move {
                    let _ = connection.await;
                });
                Bare::Http1(std::sync::Arc::new(tokio::sync::Mutex::new(sender)))
            }
            Plain::Http2 => {
                let executor = HostExecutor(host.clone());
                let (sender, connection) = client::conn::http2::Builder::new(executor)
                    .timer(HostTimer::new(host))
                    .handshake(io)
                    .await?;
                host.spawn("connection", async move {
                    let _ = connection.await;
                });
                Bare::Http2(sender)
            }
        })
    }

    /// The same connection for one more asker, where the protocol has streams.
    fn shared(&self) -> Option<Bare> {
        match self {
            Bare::Http1(_) => None,
            Bare::Http2(sender) => Some(Bare::Http2(sender.clone())),
        }
    }

    async fn ask(&mut self, url: &Url) -> Result<Bytes> {
        let request = http::Request::get(url.as_str())
            .header(
                "host",
                &url[url::Position::BeforeHost..url::Position::AfterPort],
            )
            .body(Empty::new())?;
        let response = match self {
            Bare::Http1(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Bare::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        Ok(response.into_body().collect().await?.to_bytes())
    }
}
