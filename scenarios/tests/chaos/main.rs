//! Three real `engine` processes on this machine, clients that load them, and ten leaders killed without warning: what
//! clients were told is held against the log by the checkers that judge simulated runs. How long writes stayed away
//! after each kill is told on standard error, and has a bound: see [`MEDIAN`].
// This test starts processes, looks for free ports and reads the processes' logs.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod cluster;
mod lies;
mod links;
mod load;
mod verdict;

use cluster::{Cluster, ELECTION_TIMEOUT};
use holdfast_host::{Host, tokio_host};
use load::{Load, Recorder};
use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Leaders killed.
const KILLS: usize = 10;
/// Most election timeouts that writes may stay away after a kill, for half of the kills: followers wait for one to two
/// of them, and the first to have waited wins.
const MEDIAN: f64 = 2.0;
/// The same for every kill. A vote may be split, and a machine that runs other tests beside this one may be late.
const MOST: f64 = 10.0;
/// What takes longer than this will never come; far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a killed process stays away after writes have resumed: time for the log to go on without it.
const AWAY: Duration = Duration::from_millis(300);
/// How long the whole cluster is under load before the next kill.
const CALM: Duration = Duration::from_millis(500);

#[test]
fn nothing_acknowledged_is_lost_when_leaders_are_killed() {
    let engine = engine_binary();
    if !engine.is_file() {
        return skip(&format!(
            "killing leaders: there is no {}; build it, or name another in HOLDFAST_ENGINE",
            engine.display()
        ));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
    runtime.block_on(run(&host, &engine, folder.path()));
}

async fn run(host: &Host, engine: &Path, folder: &Path) {
    let mut cluster = Cluster::start(host, engine, folder);
    cluster.leader().await;
    let recorder = Arc::new(Recorder::default());
    let load = Load::start(host, cluster.endpoints(), &recorder);
    let mut recoveries = Vec::new();
    for round in 1..=KILLS {
        host.sleep(CALM).await;
        let recovery = kill_the_leader(host, &mut cluster, &recorder).await;
        tell(&format!("chaos: kill {round}: {recovery}"));
        recoveries.push(recovery);
    }
    host.sleep(CALM).await;
    load.stop().await;
    let history = recorder.take();
    verdict::check(&cluster, &history).await;
    cluster.stop();
    let times = Times::of(&recoveries);
    tell(&summary(&times, &history));
    assert!(times.median <= MEDIAN, "{times:?}");
    assert!(times.most <= MOST, "{times:?}");
}

/// Writes a line where whoever runs all tests sees it: what a test that passes prints is swallowed.
fn tell(line: &str) {
    let told = writeln!(std::io::stderr(), "{line}");
    told.expect("standard error takes lines");
}

/// What a kill led to.
struct Recovery {
    /// Who was killed.
    killed: u64,
    /// Who led next.
    successor: u64,
    /// From the end of the killed process to the first acknowledgement of a write that was called after it.
    took: Duration,
}

impl std::fmt::Display for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "node {} led, node {} took over; writes resumed after {} ms, {:.2} election timeouts",
            self.killed,
            self.successor,
            self.took.as_millis(),
            timeouts(self.took)
        )
    }
}

/// Kills the leader, waits for a write to be acknowledged, and brings the killed process back until it has caught up.
/// A write called after the end of the process can only have been acknowledged by the leader's successor.
async fn kill_the_leader(host: &Host, cluster: &mut Cluster, recorder: &Recorder) -> Recovery {
    let killed = cluster.leader().await;
    let known = recorder.len();
    cluster.kill(killed);
    let killed_at = host.now();
    let resumed = cluster::wait_for(host, "an acknowledged write", async || {
        recorder.first_write(known, killed_at)
    });
    let took = resumed.await.since(killed_at);
    let successor = cluster.leader().await;
    host.sleep(AWAY).await;
    cluster.restart(killed);
    cluster.wait_until_caught_up(killed).await;
    Recovery {
        killed,
        successor,
        took,
    }
}

/// How long writes stayed away, as multiples of the election timeout.
#[derive(Debug)]
struct Times {
    /// In the order of the kills.
    all: Vec<f64>,
    median: f64,
    most: f64,
}

impl Times {
    fn of(recoveries: &[Recovery]) -> Times {
        let all: Vec<f64> = recoveries.iter().map(|r| timeouts(r.took)).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let median = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
        let most = sorted[sorted.len() - 1];
        Times { all, median, most }
    }
}

/// The numbers, on one line.
fn summary(times: &Times, history: &[holdfast_sim::check::kv::Operation]) -> String {
    let timeout = ELECTION_TIMEOUT.as_millis();
    let in_ms = |time: &f64| format!("{:.0}", time * timeout as f64);
    let all: Vec<String> = times.all.iter().map(in_ms).collect();
    let unknown = history.iter().filter(|o| o.returned.is_none()).count();
    format!(
        "chaos: {} leaders killed; writes resumed after {} ms; median {} ms, most {} ms: {:.2} and {:.2} election \
         timeouts of {timeout} ms; {} operations, {unknown} of unknown outcome, none lost",
        times.all.len(),
        all.join(" "),
        in_ms(&times.median),
        in_ms(&times.most),
        times.median,
        times.most,
        history.len(),
    )
}

/// A time as a multiple of the election timeout.
fn timeouts(time: Duration) -> f64 {
    time.as_secs_f64() / ELECTION_TIMEOUT.as_secs_f64()
}

/// The binary under test: what `HOLDFAST_ENGINE` names, or the one that the same build puts beside this test.
fn engine_binary() -> PathBuf {
    if let Some(named) = std::env::var_os("HOLDFAST_ENGINE") {
        return named.into();
    }
    let this = std::env::current_exe().expect("a test has a path");
    let target = this.ancestors().nth(2).expect("tests are two folders down");
    target.join("engine")
}

/// Says that the test could not be made, where people and CI look for it.
fn skip(reason: &str) {
    let line = format!("SKIPPED: {reason}");
    println!("{line}");
    let Some(file) = std::env::var_os("HOLDFAST_SKIPS") else {
        return;
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file);
    let mut file = file.expect("HOLDFAST_SKIPS names a file that can be written");
    file.write_all(format!("{line}\n").as_bytes())
        .expect("written");
}
