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
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Runtime};

const NODES: usize = 100;
/// Nodes of another network that was there before: what a process takes once is not put down to those that are weighed.
const FIRST: usize = 10;
/// Lookups under way at a time.
const CALLERS: usize = 8;
const LOOKUPS: usize = 20_000;
/// libtorrent is given fewer: it takes longer. Ours have made as many when their memory is measured.
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
    /// Datagrams of all nodes, for one lookup.
    #[serde(default)]
    datagrams: f64,
    /// Their bytes, headers aside, on the average.
    #[serde(default)]
    datagram_bytes: f64,
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
    let bare = sockets.datagrams * bare(sockets.datagram_bytes as usize)? * 1e3;
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
    let datagrams = format!(
        "{:.1} datagrams of {:.0} bytes, each sent and received, and nothing else: what the kernel takes of the above",
        sockets.datagrams, sockets.datagram_bytes
    );
    row(
        "the bare sockets of it",
        bare,
        "ms",
        &datagrams,
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
        "anonymous memory that a process with 10 others grew by until 2,000 lookups were over",
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
    let first = network(&runtime, &host, 2, FIRST, is_direct)?;
    look_up(&runtime, &first, FIRST, THEIR_LOOKUPS, 0)?;
    let before = resident()?;
    let handle = network(&runtime, &host, 3, NODES, is_direct)?;
    // So that round trips are known, as they are to nodes that have run for a while.
    look_up(&runtime, &handle, NODES, THEIR_LOOKUPS, 1)?;
    let bytes_per_node = (resident()? - before) / NODES as f64;
    runtime.block_on(first.shutdown());
    let traffic = runtime.block_on(handle.status())?.traffic;
    let (cpu, began) = (cpu_seconds(), Instant::now());
    let took = look_up(&runtime, &handle, NODES, LOOKUPS, 2)?;
    let (cpu_seconds, seconds) = (cpu_seconds() - cpu, began.elapsed().as_secs_f64());
    let after = runtime.block_on(handle.status())?.traffic;
    let sent = (after.sent - traffic.sent) as f64;
    let sent_bytes = (after.sent_bytes - traffic.sent_bytes) as f64;
    runtime.block_on(handle.shutdown());
    Ok(Measured {
        lookups: took.len() as u64,
        cpu_seconds,
        seconds,
        median_ms: percentile(took.clone(), 50),
        p95_ms: percentile(took, 95),
        bytes_per_node,
        datagrams: sent / LOOKUPS as f64,
        datagram_bytes: sent_bytes / sent.max(1.0),
    })
}

/// What a datagram of so many bytes costs that goes from one socket of this machine to another and does nothing else, CPU
/// seconds. No program that sends it can take less.
fn bare(bytes: usize) -> Result<f64> {
    const COUNT: usize = 200_000;
    let bind = |n| UdpSocket::bind((Ipv4Addr::new(127, 0, 4, n as u8 + 1), 0));
    let sockets: Vec<UdpSocket> = (0..NODES).map(bind).collect::<std::io::Result<_>>()?;
    let addresses: Vec<_> = sockets
        .iter()
        .map(UdpSocket::local_addr)
        .collect::<std::io::Result<_>>()?;
    for socket in &sockets {
        socket.set_nonblocking(true)?;
    }
    let datagram = vec![0; bytes];
    let mut buffer = [0; 2_048];
    let began = cpu_seconds();
    for n in 0..COUNT {
        let (from, to) = (n % NODES, (n * 7 + 3) % NODES);
        sockets[from].send_to(&datagram, addresses[to])?;
        sockets[to].recv_from(&mut buffer)?;
    }
    Ok((cpu_seconds() - began) / COUNT as f64)
}

/// So many nodes in a network of their own, which know each other.
fn network(
    runtime: &Runtime,
    host: &Host,
    number: u8,
    nodes: usize,
    is_direct: bool,
) -> Result<DhtHandle> {
    let local = |n: usize| LocalNode {
        v4: Some(SocketAddrV4::new(
            Ipv4Addr::new(127, 0, number, n as u8 + 1),
            0,
        )),
        ..LocalNode::default()
    };
    let mut settings = Settings {
        nodes: (0..nodes).map(local).collect(),
        is_direct,
        ..Settings::default()
    };
    settings.config.rates = RateLimits::NONE;
    let handle = runtime.block_on(Dht::start(host, settings))?;
    handle.join(vec![handle.addresses(0)[0].ok_or("no address")?])?;
    joined(runtime, host, &handle, KNOWN.min(nodes - 1))?;
    Ok(handle)
}

/// Waits until all know so many others.
fn joined(runtime: &Runtime, host: &Host, handle: &DhtHandle, known: usize) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = runtime.block_on(handle.status())?;
        let mut families = status.nodes.iter().flat_map(|node| &node.families);
        if families.all(|family| family.table.good >= known && family.lookups == 0) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err("our nodes do not find each other".into());
        }
        runtime.block_on(host.sleep(Duration::from_millis(100)));
    }
}

/// Looks up so many random targets; how long each took, milliseconds.
fn look_up(
    runtime: &Runtime,
    handle: &DhtHandle,
    nodes: usize,
    count: usize,
    seed: u64,
) -> Result<Vec<f64>> {
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let handle = handle.clone();
            runtime.spawn(async move {
                let mut rng = ChaCha8Rng::seed_from_u64(seed << 32 | caller as u64);
                let mut took = Vec::new();
                for n in 0..count / CALLERS {
                    let target = Id::random(&mut rng);
                    let began = Instant::now();
                    let node = (caller + n * CALLERS) % nodes;
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

/// Bytes of memory that are this process's own, code and other files not counted.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.ok_or("no RssAnon")?.parse::<f64>()? * 1_024.0)
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
    let start = |theirs: &mut Theirs, number: u8, nodes: usize| {
        let address = |n: usize| format!("127.0.{number}.{n}:0");
        let addresses: Vec<String> = (1..=nodes).map(address).collect();
        let started = theirs.ask(&json!({"do": "start", "addresses": addresses}))?;
        let (host, port) = (format!("127.0.{number}.1"), &started["ports"][0]);
        theirs.ask(&json!({"do": "join", "host": host, "port": port}))?;
        let end = Instant::now() + PATIENCE;
        loop {
            let known = theirs.ask(&json!({"do": "known"}))?;
            let counts = known["counts"].as_array().ok_or("no counts")?;
            let enough = |count: &Value| count.as_u64() >= Some(KNOWN.min(nodes - 1) as u64);
            if counts.iter().all(enough) {
                return Ok::<_, Box<dyn std::error::Error + Send + Sync>>(());
            }
            if Instant::now() > end {
                return Err("libtorrent's nodes do not find each other".into());
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    let order = |count: usize| json!({"do": "look_up", "count": count, "callers": CALLERS});
    start(&mut theirs, 5, FIRST)?;
    theirs.ask(&order(THEIR_LOOKUPS / 10))?;
    theirs.ask(&json!({"do": "begin_anew"}))?;
    start(&mut theirs, 6, NODES)?;
    theirs.ask(&order(THEIR_LOOKUPS / 10))?;
    Ok(serde_json::from_value(theirs.ask(&order(THEIR_LOOKUPS))?)?)
}
