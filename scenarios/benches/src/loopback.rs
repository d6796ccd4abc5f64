//! Nodes of the DHT on loopback, a hundred of ours and a hundred of libtorrent's, each kind in a network of its own and
//! in a process of its own: what a lookup costs all nodes together, and what a node weighs.

use super::measure::{Result, alone, cpu_seconds, percentile};
use holdfast_host::{Host, tokio_host};
use holdfast_kademlia::{Id, limiter::RateLimits};
use holdfast_peers::{Dht, DhtHandle, LocalNode, Settings};
use holdfast_record::worker::BenchRow;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Runtime};

const NODES: usize = 100;
/// Lookups under way at a time.
const CALLERS: usize = 8;
const LOOKUPS: usize = 20_000;
/// libtorrent is given fewer: it takes longer.
const THEIR_LOOKUPS: usize = 2_000;
/// Nodes have found each other after this, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many others a node knows by then.
const KNOWN: usize = 16;

/// What was measured of one kind.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Measured {
    lookups: u64,
    cpu_seconds: f64,
    seconds: f64,
    median_ms: f64,
    p95_ms: f64,
    bytes_per_node: f64,
}

impl Measured {
    fn cpu_ms(&self) -> f64 {
        self.cpu_seconds * 1e3 / self.lookups as f64
    }

    fn per_core(&self) -> f64 {
        self.lookups as f64 / self.cpu_seconds
    }
}

/// The rows of `cargo xtask bench kademlia` that are about this. `libtorrent`: an environment of Python that has it.
pub fn rows(libtorrent: Option<&Path>) -> Result<Vec<BenchRow>> {
    let sockets = ours(false)?;
    let direct = ours(true)?;
    let theirs = libtorrent.map(theirs).transpose()?;
    let note = |measured: &Measured| {
        format!(
            "{} lookups of items that nobody has, {NODES} nodes, {CALLERS} at a time, {:.2} ms median, {:.2} ms 95 % within, \
             {:.0} a second",
            measured.lookups,
            measured.median_ms,
            measured.p95_ms,
            measured.lookups as f64 / measured.seconds
        )
    };
    let mut rows = Vec::new();
    let mut row = |name: &str, value: f64, unit: &str, note: &str, rival: Option<f64>| {
        let mut row = alone(name, value, unit, note);
        if let Some(rival) = rival {
            row.rival = Some("libtorrent".into());
            row.rival_value = Some(rival);
            row.ratio = Some(value / rival);
        }
        rows.push(row);
    };
    let rival = theirs.as_ref();
    row(
        "a lookup on loopback, CPU of all nodes, through sockets",
        sockets.cpu_ms(),
        "ms",
        &note(&sockets),
        rival.map(Measured::cpu_ms),
    );
    row(
        "the same, nodes of one process straight to each other",
        direct.cpu_ms(),
        "ms",
        &note(&direct),
        rival.map(Measured::cpu_ms),
    );
    row(
        "lookups on loopback, through sockets",
        sockets.per_core(),
        "per CPU second",
        "",
        rival.map(Measured::per_core),
    );
    row(
        "the same, straight to each other",
        direct.per_core(),
        "per CPU second",
        "",
        rival.map(Measured::per_core),
    );
    row(
        "memory of a node on loopback",
        sockets.bytes_per_node,
        "bytes",
        "what the process grew by until the lookups were over",
        rival.map(|rival| rival.bytes_per_node),
    );
    if let Some(rival) = rival {
        let note = note(rival);
        row("libtorrent's lookups", rival.cpu_ms(), "ms", &note, None);
    }
    Ok(rows)
}

fn ours(is_direct: bool) -> Result<Measured> {
    // One thread, for any number of nodes.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
    let before = resident()?;
    let mut settings = Settings {
        nodes: (0..NODES).map(local).collect(),
        is_direct,
        ..Settings::default()
    };
    settings.config.rates = RateLimits::NONE;
    let handle = runtime.block_on(Dht::start(&host, settings))?;
    handle.join(vec![handle.addresses(0)[0].ok_or("no address")?])?;
    joined(&runtime, &host, &handle)?;
    // So that round trips are known, as they are to nodes that have run for a while.
    look_up(&runtime, &handle, LOOKUPS / 10, 1)?;
    let (cpu, began) = (cpu_seconds(), Instant::now());
    let took = look_up(&runtime, &handle, LOOKUPS, 2)?;
    let (cpu_seconds, seconds) = (cpu_seconds() - cpu, began.elapsed().as_secs_f64());
    let bytes_per_node = (resident()? - before) / NODES as f64;
    runtime.block_on(handle.shutdown());
    Ok(Measured {
        lookups: took.len() as u64,
        cpu_seconds,
        seconds,
        median_ms: percentile(took.clone(), 50),
        p95_ms: percentile(took, 95),
        bytes_per_node,
    })
}

fn local(n: usize) -> LocalNode {
    LocalNode {
        v4: Some(SocketAddrV4::new(Ipv4Addr::new(127, 0, 2, n as u8 + 1), 0)),
        ..LocalNode::default()
    }
}

fn joined(runtime: &Runtime, host: &Host, handle: &DhtHandle) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = runtime.block_on(handle.status())?;
        let mut families = status.nodes.iter().flat_map(|node| &node.families);
        if families.all(|family| family.table.good >= KNOWN && family.lookups == 0) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err("our nodes do not find each other".into());
        }
        runtime.block_on(host.sleep(Duration::from_millis(100)));
    }
}

/// Looks up so many random targets; how long each took, milliseconds.
fn look_up(runtime: &Runtime, handle: &DhtHandle, count: usize, seed: u64) -> Result<Vec<f64>> {
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let handle = handle.clone();
            runtime.spawn(async move {
                let mut rng = ChaCha8Rng::seed_from_u64(seed << 32 | caller as u64);
                let mut took = Vec::new();
                for n in 0..count / CALLERS {
                    let target = Id::random(&mut rng);
                    let began = Instant::now();
                    let node = (caller + n * CALLERS) % NODES;
                    handle.get(node, target, b"").await?;
                    took.push(began.elapsed().as_secs_f64() * 1e3);
                }
                Ok::<_, holdfast_peers::DhtError>(took)
            })
        })
        .collect();
    let mut all = Vec::new();
    for caller in callers {
        all.extend(runtime.block_on(caller)??);
    }
    Ok(all)
}

/// Bytes of memory that this process has.
fn resident() -> Result<f64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = pages.split(' ').nth(1).ok_or("no statm")?.parse()?;
    Ok(pages * rustix::param::page_size() as f64)
}

/// A process that runs libtorrent's nodes.
struct Theirs {
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Theirs {
    fn ask(&mut self, order: &Value) -> Result<Value> {
        let orders = self.process.stdin.as_mut().ok_or("no input")?;
        writeln!(orders, "{order}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn theirs(home: &Path) -> Result<Measured> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/mixed/libtorrent_nodes.py");
    let mut process = Command::new(home.join("bin/python3"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let answers = BufReader::new(process.stdout.take().ok_or("no output")?);
    let mut theirs = Theirs { process, answers };
    let addresses: Vec<String> = (1..=NODES).map(|n| format!("127.0.3.{n}:0")).collect();
    let started = theirs.ask(&json!({"do": "start", "addresses": addresses}))?;
    theirs.ask(&json!({"do": "join", "host": "127.0.3.1", "port": started["ports"][0]}))?;
    let end = Instant::now() + PATIENCE;
    loop {
        let known = theirs.ask(&json!({"do": "known"}))?;
        let counts = known["counts"].as_array().ok_or("no counts")?;
        let enough = |count: &Value| count.as_u64() >= Some(KNOWN as u64);
        if counts.iter().all(enough) {
            break;
        }
        if Instant::now() > end {
            return Err("libtorrent's nodes do not find each other".into());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let order = |count: usize| json!({"do": "look_up", "count": count, "callers": CALLERS});
    theirs.ask(&order(THEIR_LOOKUPS / 10))?;
    Ok(serde_json::from_value(theirs.ask(&order(THEIR_LOOKUPS))?)?)
}
