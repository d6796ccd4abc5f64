//! One job of 100,000 links on a node of its own: how much memory it takes, and how long a page of its results.

use crate::measure::{Result, alone, median};
use holdfast_host::{Host, tokio_host};
use holdfast_http::{BodyPolicy, Client, ClientConfig, Request, tls::Roots};
use holdfast_record::worker::BenchRow;
use holdfast_scenarios::web::{StaticShape, serve::Loopback};
use http::Method;
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::runtime::Builder;
use url::Url;

/// Pages of the site: with 27 links each, a little over 100,000 links.
const PAGES: usize = 3_720;
/// Results asked for at once.
const PAGE: usize = 1_000;
/// What takes longer will not end.
const PATIENCE: Duration = Duration::from_secs(120);

/// The engine, killed when this goes.
struct Engine(Child);

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Engine {
    fn start(data: &Path, listen: &str, peers: &str) -> Result<Engine> {
        let this = std::env::current_exe()?;
        let program = this.with_file_name("engine");
        let child = Command::new(&program)
            .args([
                "serve",
                "--listen",
                listen,
                "--peer-listen",
                peers,
                "--data",
            ])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Engine(child))
    }

    /// The most memory that it had resident so far, bytes.
    fn peak(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.split_whitespace().next());
        Ok(peak.ok_or("a status tells the peak")?.parse::<f64>()? * 1024.0)
    }
}

/// Measures.
pub fn rows() -> Result<Vec<BenchRow>> {
    let folder = tempfile::tempdir()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
    runtime.block_on(measure(&host, folder.path()))
}

async fn ask(
    client: &Client,
    base: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value> {
    let mut request = Request::new(method, Url::parse(&format!("{base}{path}"))?);
    if let Some(body) = body {
        request = request
            .header("content-type", "application/json")?
            .body(body.to_string());
    }
    let collect = |_: &holdfast_http::Head| BodyPolicy::Collect { max: 64 << 20 };
    let answer = client.send(&request, &collect).await?;
    match answer.head.status.is_success() {
        true => Ok(serde_json::from_slice(&answer.body)?),
        false => Err(String::from_utf8_lossy(&answer.body).into_owned().into()),
    }
}

async fn measure(host: &Host, folder: &Path) -> Result<Vec<BenchRow>> {
    let shape = |addresses| StaticShape {
        pages: PAGES,
        ..StaticShape::benchmark(addresses)
    };
    let site = Loopback::start(host, 0, 1, shape).await?;
    let free =
        || -> Result<String> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string()) };
    let (listen, peers) = (free()?, free()?);
    let engine = Engine::start(&folder.join("data"), &listen, &peers)?;
    let base = format!("http://{listen}");
    let client = Client::new(host, ClientConfig::default(), &Roots::Bundled)?;
    let order = json!({
        "start_urls": [site.root()],
        "options": {"retries": 1, "retry_after_ms": 250}
    });
    let began = Instant::now();
    let created = loop {
        match ask(&client, &base, Method::POST, "/v1/links/jobs", Some(&order)).await {
            Ok(created) => break created,
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => host.sleep(Duration::from_millis(50)).await,
        }
    };
    let path = format!(
        "/v1/links/jobs/{}",
        created["id"].as_str().ok_or("a job has an id")?
    );
    let started = Instant::now();
    let job = loop {
        let job = ask(&client, &base, Method::GET, &path, None).await?;
        if job["status"] == "completed" {
            break job;
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("it does not end: {job}").into());
        }
        host.sleep(Duration::from_millis(100)).await;
    };
    let took = started.elapsed().as_secs_f64();
    let (mut times, mut count, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = format!("{path}/results?limit={PAGE}{cursor}");
        let asked = Instant::now();
        let page = ask(&client, &base, Method::GET, &page, None).await?;
        times.push(asked.elapsed().as_secs_f64() * 1e3);
        count += page["results"].as_array().map_or(0, Vec::len);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    if job["total_links"] != count {
        return Err(format!("{count} results of a job that says {}", job["total_links"]).into());
    }
    let slowest = times.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        alone(
            "memory of a node",
            engine.peak()? / 1e6,
            "MB at most",
            &format!("through a job of {count} links and the reading of all its results; bar: 300"),
        ),
        alone(
            "page of results, slowest",
            slowest,
            "ms",
            &format!("{PAGE} results, with their JSON and the loopback; bar: 20"),
        ),
        alone(
            "page of results, median",
            median(times),
            "ms",
            &format!("the same; {} pages", count.div_ceil(PAGE)),
        ),
        alone(
            "job",
            took,
            "s",
            "crawl and check by a server that syncs every commit; the site's server on one of the two cores",
        ),
    ])
}
