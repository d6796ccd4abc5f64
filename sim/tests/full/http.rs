//! The engine's HTTP client and hyper's servers on simulated machines, in the clear and over TLS.

use super::*;
use ::http::{Request as HttpRequest, Response as HttpResponse};
use bytes::Bytes;
use holdfast_http::{
    BodyPolicy, Client, ClientConfig, FetchError, OpenGate, Plain, Request, Stage, Timeouts,
    rt::{HostExecutor, HostIo, HostTimer},
    tls::{self, Roots},
};
use holdfast_sim::draw::{Domain, Draws, bytes_hash};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::{convert::Infallible, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use url::Url;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

const HTTP1: u16 = 80;
const HTTP2: u16 = 81;
const TLS: u16 = 443;

/// A server's certificate and key, and the root to trust, as PEM texts. Their keys are drawn from the run's seed.
#[derive(Clone)]
struct Papers {
    root: String,
    chain: String,
    key: String,
}

fn papers() -> Papers {
    let root_key = KeyPair::generate().expect("a key");
    let mut root = CertificateParams::new(Vec::new()).expect("no names");
    root.distinguished_name
        .push(DnType::CommonName, "simulated root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = root.self_signed(&root_key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name(0)]).expect("a good name");
    let issuer = Issuer::from_params(&root, &root_key);
    let chain = params.signed_by(&key, &issuer).expect("a certificate");
    Papers {
        root: certificate.pem(),
        chain: chain.pem(),
        key: key.serialize_pem(),
    }
}

/// Answers `/SIZE/STEP` with so many bytes, redirected that many times.
async fn answer(request: HttpRequest<Incoming>) -> Result<HttpResponse<Full<Bytes>>, Infallible> {
    let mut parts = request.uri().path()[1..].split('/');
    let mut number = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    let (size, steps): (usize, usize) = (number(), number());
    let response = HttpResponse::builder();
    let (response, body) = match steps.checked_sub(1) {
        Some(left) => {
            let location = format!("/{size}/{left}");
            let response = response.status(302).header("location", location);
            (response, Vec::new())
        }
        None => (response, vec![size as u8; size]),
    };
    Ok(response.body(Full::new(body.into())).expect("a response"))
}

async fn speak(host: Host, stream: impl AsyncRead + AsyncWrite + Unpin, is_http2: bool) {
    let io = HostIo::new(&host, stream, Bytes::new(), 30 * SECOND);
    let timer = HostTimer::new(&host);
    // What comes of a connection is the client's to say.
    let _ = match is_http2 {
        false => {
            http1::Builder::new()
                .timer(timer)
                .header_read_timeout(30 * SECOND)
                .auto_date_header(false)
                .serve_connection(io, service_fn(answer))
                .await
        }
        true => {
            http2::Builder::new(HostExecutor(host))
                .timer(timer)
                .auto_date_header(false)
                .keep_alive_interval(20 * SECOND)
                .serve_connection(io, service_fn(answer))
                .await
        }
    };
}

async fn listen(host: Host, port: u16, papers: Papers) {
    let acceptor = tls::server(&host, &papers.chain, &papers.key).expect("good papers");
    let acceptor = TlsAcceptor::from(acceptor);
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    let mut listener = host.network.listen(any).await.expect("the port is free");
    while let Ok((stream, _)) = listener.accept().await {
        let (same, acceptor) = (host.clone(), acceptor.clone());
        host.spawn("connection", async move {
            match port {
                HTTP1 => speak(same, stream, false).await,
                HTTP2 => speak(same, stream, true).await,
                _ => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        speak(same, stream, is_http2).await;
                    }
                }
            }
        });
    }
}

/// Node 0: everything on its three ports.
fn server(world: &World, papers: &Papers) {
    let papers = papers.clone();
    let number = world.machine(&name(0), move |host| {
        let papers = papers.clone();
        async move {
            let ports = [HTTP1, HTTP2, TLS];
            let listeners = ports.map(|port| {
                let listener = listen(host.clone(), port, papers.clone());
                host.spawn("listener", listener)
            });
            for listener in listeners {
                listener.await;
            }
        }
    });
    assert_eq!(number, 0);
}

fn config() -> ClientConfig {
    ClientConfig {
        timeouts: Timeouts {
            connect: 2 * SECOND,
            tls: 2 * SECOND,
            head: 3 * SECOND,
            body: 3 * SECOND,
            total: 10 * SECOND,
            ..Timeouts::default()
        },
        ..ClientConfig::default()
    }
}

fn client(host: &Host, papers: &Papers, plain: Plain) -> Client {
    let config = ClientConfig { plain, ..config() };
    Client::new(host, config, &Roots::Pem(papers.root.clone())).expect("good settings")
}

fn url(port: u16, path: &str) -> Url {
    let scheme = if port == TLS { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{}:{port}{path}", name(0))).expect("a URL")
}

fn plain(port: u16) -> Plain {
    match port {
        HTTP2 => Plain::Http2,
        _ => Plain::Http1,
    }
}

async fn get(client: &Client, url: Url) -> Result<Bytes, FetchError> {
    let all = |_: &_| BodyPolicy::Collect { max: 1 << 20 };
    let fetched = client.fetch(&Request::get(url), &OpenGate, &all).await;
    fetched.outcome.map(|response| response.body)
}

/// What a storm came to.
#[derive(Debug)]
struct Weather {
    /// Answers that were right, by port.
    right: [u32; 3],
    /// Failures, by name.
    failed: std::collections::BTreeMap<&'static str, u32>,
    /// A hash over what each request came to and when.
    told: u64,
}

/// Requests of all kinds on a bad network, while the server is killed, loses power and is cut off.
fn storm(seed: u64) -> Ended<Weather> {
    simulate(rough(seed), move |world| async move {
        let papers = papers();
        server(&world, &papers);
        idle(&world, 1);
        let host = world.host(1);
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
        for (place, port) in [HTTP1, HTTP2, TLS].into_iter().enumerate() {
            let client = client(&host, &papers, plain(port));
            for asker in 0..3 {
                let (host, client, send) = (host.clone(), client.clone(), send.clone());
                let entity = (place * 3 + asker) as u64;
                let mut draws = Draws::new(seed, Domain::Scenario, 1 + entity);
                host.clone().spawn("asker", async move {
                    for _ in 0..25 {
                        let (size, steps) = (draws.range(0, 40_000), draws.range(0, 3));
                        let path = format!("/{size}/{steps}");
                        let outcome = get(&client, url(port, &path)).await;
                        if let Ok(body) = &outcome {
                            assert_eq!(body[..], vec![size as u8; size as usize]);
                        }
                        let outcome = outcome.map(drop).map_err(|error| error.name());
                        // Nobody listens any more when the scenario has ended.
                        let _ = send.send((place, outcome, host.now()));
                        host.sleep(draws.range(1, 800) as u32 * MILLISECOND).await;
                    }
                });
            }
        }
        drop(send);
        let outside = world.clone();
        host.spawn("weather", async move {
            let mut draws = Draws::new(seed, Domain::Scenario, 0);
            for _ in 0..12 {
                outside
                    .sleep(draws.range(200, 2_000) as u32 * MILLISECOND)
                    .await;
                let kind = draws.range(0, 3);
                match kind {
                    0 => outside.kill(0),
                    1 => outside.power_cut(0),
                    _ => isolate(&outside, 0),
                }
                outside
                    .sleep(draws.range(1, 2_500) as u32 * MILLISECOND)
                    .await;
                match kind {
                    2 => heal(&outside),
                    _ => outside.restart(0),
                }
            }
        });
        let mut weather = Weather {
            right: [0; 3],
            failed: Default::default(),
            told: 0,
        };
        while let Some((place, outcome, at)) = receive.recv().await {
            let line = format!("{} {place} {outcome:?} {}", weather.told, at.as_nanos());
            weather.told = bytes_hash(line.as_bytes());
            match outcome {
                Ok(()) => weather.right[place] += 1,
                Err(name) => *weather.failed.entry(name).or_default() += 1,
            }
        }
        weather
    })
}

/// Runs in a process of its own for [`equal_in_two_processes`].
#[test]
#[ignore = "a child of equal_in_two_processes"]
fn child() {
    let ended = storm(processes::seed());
    let weather = ended.output.expect("it ends");
    processes::tell(&format!(
        "{:016x} {:?} {weather:?}",
        ended.trace_hash, ended.counts
    ));
}

#[test]
fn equal_in_two_processes() {
    processes::check_equal("http::child", 4);
}

#[test]
fn the_storm_strikes_and_is_outlived() {
    let mut failed = std::collections::BTreeMap::new();
    for seed in 10..14 {
        let ended = storm(seed);
        let weather = ended.output.expect("it ends");
        for (port, right) in weather.right.iter().enumerate() {
            assert!(*right > 20, "port {port}, seed {seed}: {weather:?}");
        }
        for (name, count) in weather.failed {
            *failed.entry(name).or_insert(0) += count;
        }
    }
    for name in ["timeout", "connection-refused"] {
        assert!(failed.contains_key(name), "{failed:?}");
    }
}

#[test]
fn keys_are_drawn_from_the_seed() {
    let texts = |seed| {
        simulate(calm(seed), |_| async move {
            let papers = papers();
            (papers.root, papers.key)
        })
        .output
    };
    assert_eq!(texts(1), texts(1));
    assert_ne!(texts(1), texts(2));
}

#[test]
fn every_process_draws_its_own_keys() {
    let keys = |others: u32| {
        let drawn = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        simulate(calm(1), move |world| async move {
            for node in 0..=others {
                let drawn = drawn.clone();
                world.machine(&name(node), move |host| {
                    let drawn = drawn.clone();
                    async move {
                        // The others draw before the first does, and after.
                        host.sleep(u64::from(node == 0) as u32 * SECOND).await;
                        for _ in 0..2 {
                            let key = KeyPair::generate().expect("a key").serialize_pem();
                            drawn.lock().unwrap().push((node, key));
                            host.sleep(SECOND).await;
                        }
                        std::future::pending().await
                    }
                });
            }
            world.sleep(10 * SECOND).await;
            let mut drawn = drawn.lock().unwrap().clone();
            drawn.sort();
            drawn
        })
        .output
        .expect("it ends")
    };
    let (alone, together) = (keys(0), keys(2));
    assert_eq!((alone.len(), together.len()), (2, 6));
    assert_eq!(alone, together[..2]);
    let different: std::collections::BTreeSet<_> = together.iter().map(|(_, key)| key).collect();
    assert_eq!(different.len(), 6);
}

#[test]
fn certificates_are_judged_by_the_machines_clock() {
    simulate(calm(1), |world| async move {
        let papers = papers();
        server(&world, &papers);
        idle(&world, 1);
        let client = client(&world.host(1), &papers, Plain::Http1);
        assert_eq!(
            get(&client, url(TLS, "/7")).await.expect("trusted")[..],
            [7; 7]
        );
    });
}

/// How long a request takes to fail when the server is cut off at `cut` (from the start of the run).
fn cut_off(port: u16, warm: bool, expected: Stage, after: Duration) {
    simulate(calm(1), move |world| async move {
        let papers = papers();
        server(&world, &papers);
        idle(&world, 1);
        let host = world.host(1);
        let client = client(&host, &papers, plain(port));
        if warm {
            get(&client, url(port, "/7")).await.expect("an answer");
        }
        isolate(&world, 0);
        let began = host.now();
        let error = get(&client, url(port, "/7")).await.expect_err("a cut");
        let FetchError::Timeout { stage, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(stage, expected);
        let took = host.now().since(began);
        assert!(took >= after && took < after + 10 * MILLISECOND, "{took:?}");
        heal(&world);
        // The same client finds its way back.
        for _ in 0..3 {
            host.sleep(2 * SECOND).await;
            if get(&client, url(port, "/7")).await.is_ok() {
                return;
            }
        }
        panic!("port {port} never answered again");
    });
}

#[test]
fn a_partition_ends_in_the_timeout_of_its_stage() {
    for port in [HTTP1, HTTP2, TLS] {
        cut_off(port, false, Stage::Connect, 2 * SECOND);
        cut_off(port, true, Stage::Head, 3 * SECOND);
    }
}

#[test]
fn politeness_is_exact_to_the_nanosecond_of_the_machines_clock() {
    simulate(calm(1), |world| async move {
        let papers = papers();
        server(&world, &papers);
        idle(&world, 1);
        let host = world.host(1);
        let config = ClientConfig {
            gap: 5 * SECOND,
            ..config()
        };
        let client = Client::new(&host, config, &Roots::Bundled).expect("good settings");
        let began = host.now();
        for _ in 0..5 {
            get(&client, url(HTTP1, "/7")).await.expect("an answer");
        }
        let took = host.now().since(began);
        assert!(took >= 20 * SECOND && took < 21 * SECOND, "{took:?}");
    });
}
