//! One job of 100,000 links on a node of its own: how much memory it takes, and how long a page of its results.

use crate::measure::{Result, alone, median, percentile};
use bytes::Bytes;
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
/// Results asked for at once: first so many, then so many.
const PAGES_OF: [usize; 2] = [1_000, 100];
/// Pages that are looked for: what some results have, what few have, and what none has.
const FILTERS: [&str; 6] = [
    "limit=100&filter=moved",
    "limit=100&filter=fragment_missing",
    "limit=100&filter=throttled",
    "limit=100&filter=flaky",
    "limit=100&filter=broken",
    "limit=100&filter=newly_broken",
];
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

/// What the threads of a process have had of the machine so far, milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// On a core.
    ran: f64,
    /// Ready to run, and waiting for a core.
    waited: f64,
}

impl Engine {
    /// As the scheduler counts it: of each thread the nanoseconds on a core, and those in its queue.
    fn share(&self) -> Result<Share> {
        let mut share = Share::default();
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            // A thread that has just ended.
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            let mut numbers = text.split_whitespace().map(str::parse::<f64>);
            let mut next = || numbers.next().ok_or("three numbers");
            share.ran += next()?? / 1e6;
            share.waited += next()?? / 1e6;
        }
        Ok(share)
    }
}

/// How long one page took, milliseconds.
#[derive(Clone, Copy, Debug)]
struct Took {
    /// By the clock.
    wall: f64,
    /// Of the node's threads on a core.
    ran: f64,
    /// Of the node's threads in the queue for one.
    waited: f64,
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
    let answer = exchange(client, base, method, path, body).await?;
    Ok(serde_json::from_slice(&answer)?)
}

async fn exchange(
    client: &Client,
    base: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Bytes> {
    let mut request = Request::new(method, Url::parse(&format!("{base}{path}"))?);
    if let Some(body) = body {
        request = request
            .header("content-type", "application/json")?
            .body(body.to_string());
    }
    let collect = |_: &holdfast_http::Head| BodyPolicy::Collect { max: 64 << 20 };
    let answer = client.send(&request, &collect).await?;
    match answer.head.status.is_success() {
        true => Ok(answer.body),
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
    // The second is compared with the first.
    run(host, &client, &base, &order).await?;
    let (job, took) = run(host, &client, &base, &order).await?;
    let path = path_of(&job)?;
    let mut rows = Vec::new();
    let mut count = 0;
    for limit in PAGES_OF {
        let query = format!("limit={limit}");
        let (results, times) = read(&client, &base, &path, &engine, &query).await?;
        if job["total_links"] != results {
            let said = &job["total_links"];
            return Err(format!("{results} results of a job that says {said}").into());
        }
        count = results;
        let note = format!("{} pages with their JSON and the loopback", times.len());
        rows.extend(spread(&format!("page of {limit} results"), &times, &note));
    }
    let mut times = Vec::new();
    for filter in FILTERS {
        times.extend(read(&client, &base, &path, &engine, filter).await?.1);
    }
    let note = "the same of pages of 100 results with one verdict, or that are broken";
    rows.extend(spread("page of a filter", &times, note));
    rows.push(alone(
        "memory of a node",
        engine.peak()? / 1e6,
        "MB at most",
        &format!("through a job of {count} links and the reading of all its results; bar: 300"),
    ));
    rows.push(alone(
        "job",
        took,
        "s",
        "crawl and check by a server that syncs every commit; the site's server on one of the two cores",
    ));
    Ok(rows)
}

fn path_of(job: &Value) -> Result<String> {
    let id = job["id"].as_str().ok_or("a job has an id")?;
    Ok(format!("/v1/links/jobs/{id}"))
}

/// Runs a job; what it is in the end, and how long it took, seconds.
async fn run(host: &Host, client: &Client, base: &str, order: &Value) -> Result<(Value, f64)> {
    let began = Instant::now();
    let created = loop {
        match ask(client, base, Method::POST, "/v1/links/jobs", Some(order)).await {
            Ok(created) => break created,
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => host.sleep(Duration::from_millis(50)).await,
        }
    };
    let path = path_of(&created)?;
    let started = Instant::now();
    loop {
        let job = ask(client, base, Method::GET, &path, None).await?;
        if job["status"] == "completed" {
            return Ok((job, started.elapsed().as_secs_f64()));
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("it does not end: {job}").into());
        }
        host.sleep(Duration::from_millis(100)).await;
    }
}

/// Reads all pages of a job's results; how many there are, and how long each page took.
async fn read(
    client: &Client,
    base: &str,
    path: &str,
    engine: &Engine,
    query: &str,
) -> Result<(usize, Vec<Took>)> {
    let (mut times, mut count, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = format!("{path}/results?{query}{cursor}");
        let before = engine.share()?;
        let asked = Instant::now();
        let page = exchange(client, base, Method::GET, &page, None).await?;
        let wall = asked.elapsed().as_secs_f64() * 1e3;
        let after = engine.share()?;
        times.push(Took {
            wall,
            ran: after.ran - before.ran,
            waited: after.waited - before.waited,
        });
        // What follows is the client's own time.
        let page: Value = serde_json::from_slice(&page)?;
        count += page["results"].as_array().map_or(0, Vec::len);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok((count, times)),
        }
    }
}

/// Rows for the middle, the 99th percentile and the slowest of some times.
fn spread(name: &str, times: &[Took], note: &str) -> Vec<BenchRow> {
    let all = |of: fn(&Took) -> f64| times.iter().map(of).collect::<Vec<f64>>();
    let slowest = times
        .iter()
        .max_by(|one, other| one.wall.total_cmp(&other.wall))
        .expect("a page was read");
    let of_slowest = format!(
        "of it the node was {:.1} ms on a core and waited {:.1} ms for one; bar: 20",
        slowest.ran, slowest.waited
    );
    let row =
        |which: &str, value, note: &str| alone(&format!("{name}, {which}"), value, "ms", note);
    vec![
        row("median", median(all(|took| took.wall)), note),
        row("p99", percentile(all(|took| took.wall), 99), note),
        row("slowest", slowest.wall, &of_slowest),
        row(
            "most of the node's CPU",
            percentile(all(|took| took.ran), 100),
            "of one page, whatever else the machine does",
        ),
    ]
}
