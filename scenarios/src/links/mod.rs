//! `links`: a web of simulated servers whose truth is known, a cluster whose link checker checks it, and people who
//! have jobs, stop them, go on with them and read results meanwhile, while everything on the fault menu befalls the nodes.
//!
//! The web's servers are clients of the world: no fault strikes them but, in some seeds, cuts between them and the
//! nodes; in the others ([`errand::Chosen::is_cut`]) no verdict needs an excuse. Their links are
//! [steady](holdfast_sim::link::Links::steady), so that the times at which requests arrive tell when they were sent.
//!
//! [`errand`] draws what is asked for, [`stage`] knows what everybody knows together, [`people`] ask, [`site`] answers.
//! When all is over, [`judge`] looks: [`expect`] says what a job must have found, [`polite`] what servers must not have
//! seen.

mod asker;
mod errand;
mod expect;
mod judge;
mod people;
mod polite;
mod site;
mod stage;
mod witness;

use crate::{
    Outcome, Run, Scenario, Source,
    raft_kv::settings::{self, choose},
    record::{cpu_ns, record},
    web::Web,
};
use errand::{Chosen, LEFT_OUT, MOST_JOBS};
use holdfast_host::Host;
use holdfast_node::{
    Node, Rig,
    config::NodeConfig,
    race::{First, first},
};
use holdfast_record::{
    Lane,
    worker::{LaneInfo, ScenarioInfo},
};
use holdfast_sim::{
    draw::{Domain, Draws},
    full::{self, Settings, World},
    plan::{Fault, FaultKind, FaultPlan, MAX_FAULTS, Menu, Recipe, Target},
};
use people::Jobs;
use site::{Sites, WEB_MACHINES};
use stage::Stage;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// The scenario.
pub struct BrokenLinks;

const NAME: &str = "links";
const SECOND: u64 = 1_000_000_000;

/// What must have happened in some seed. The last three are the world's own.
pub const MARKS: &[&str] = &[
    "change-replayed",
    "job-cancelled",
    "job-completed-after-a-stop",
    "job-resumed",
    "job-scheduled",
    "leader-changed-during-a-job",
    "leadership-handed-over-during-a-job",
    "lease-taken-over",
    "page-turned",
    "performed-twice",
    "robots-forbade",
    "row-retried",
    "shut-down-in-order",
    "snapshot-with-tables-installed",
    "snapshot-with-tables-taken",
    "stopped-by-a-failed-sync",
    "throttled-and-later-alive",
    "trap-left",
    "verdict-alive",
    "verdict-blocked",
    "verdict-dead",
    "verdict-flaky",
    "verdict-fragment_missing",
    "verdict-moved",
    "verdict-redirect_loop",
    "verdict-soft404",
    "verdict-throttled",
    "verdict-unverifiable",
    "web-cut-off",
    "all-nodes-lost-power",
    "power-failed-in-a-disk-job",
    "wall-clock-went-back",
];

const CLIENT_PORT: u16 = 7480;
const PEER_PORT: u16 = 7481;
/// Time that one link may take. Longer than a lease and what the slowest server takes that answers at all: a process
/// that stood still for less than its lease lets no request time out that would not have.
pub(crate) const LINK_TIMEOUT: Duration = Duration::from_secs(8);
/// How many times as long disks take at most.
const SLOWEST_DISK: u32 = 40;
/// How long a node that is shut down lets requests under way finish.
const DRAIN: Duration = Duration::from_millis(500);
/// The entity of [`Domain::Workload`] that draws how nodes are rigged.
const RIG: u64 = 1 << 35;
/// The one that draws when clocks are set.
const CLOCKS: u64 = 1 << 46;

impl BrokenLinks {
    /// What befalls the nodes in a seed.
    pub fn plan(seed: u64) -> FaultPlan {
        let mut plan = FaultPlan::draw(seed, &menu());
        for fault in &mut plan.faults {
            // A start reads hundreds of pages of its tables in one job, which takes its time as the disk is then.
            if let FaultKind::SlowDisk { factor, .. } = &mut fault.kind {
                *factor = (*factor).min(SLOWEST_DISK);
            }
        }
        set_clocks(&mut plan);
        if !errand::choose(&plan).is_cut {
            // Clients, and with them the web, stay in reach.
            for fault in &mut plan.faults {
                if let FaultKind::Isolate { targets } = &fault.kind {
                    let side = targets.clone();
                    fault.kind = FaultKind::Partition { side };
                }
            }
        }
        plan
    }
}

/// In some seeds every clock is set while a leader is cut off: it goes on asking the web until its lease is over, and
/// whoever follows must wait for that, whatever the clock on the wall says.
fn set_clocks(plan: &mut FaultPlan) {
    let mut draws = Draws::new(plan.seed, Domain::Workload, CLOCKS);
    if !draws.chance(0.4) {
        return;
    }
    let is_cut_off = |kind: &FaultKind| match kind {
        FaultKind::Partition { side } => side.contains(&Target::Leader),
        FaultKind::Isolate { targets } => targets.contains(&Target::Leader),
        _ => false,
    };
    let cuts = plan.faults.iter().filter(|fault| is_cut_off(&fault.kind));
    let cuts: Vec<u64> = cuts.map(|fault| fault.at_ns).collect();
    let next = plan.faults.iter().map(|fault| fault.id + 1).max();
    for (id, at) in (next.unwrap_or(0)..).zip(cuts) {
        let at_ns = at + draws.magnitude(SECOND / 4, 4 * SECOND);
        let delta_ns = draws.range(5 * SECOND, 20 * SECOND) as i64;
        let back = draws.chance(0.3);
        if at_ns < plan.horizon_ns && plan.faults.len() < MAX_FAULTS {
            plan.faults.push(Fault {
                id,
                at_ns,
                until_ns: None,
                kind: FaultKind::ClockStep {
                    targets: vec![Target::All],
                    delta_ns: if back { -delta_ns } else { delta_ns },
                },
            });
        }
    }
    plan.faults.sort_by_key(|fault| (fault.at_ns, fault.id));
}

impl Scenario for BrokenLinks {
    fn info(&self) -> ScenarioInfo {
        ScenarioInfo {
            name: NAME.into(),
            description: "a broken-link checker on a cluster: each link judged once and rightly, whatever fails".into(),
            lanes: vec![LaneInfo {
                lane: Lane::Full,
                default_seeds: 60,
                marks: MARKS.iter().map(|mark| mark.to_string()).collect(),
            }],
        }
    }

    fn run(&self, run: &Run) -> Outcome {
        let began = cpu_ns();
        let mut plan = match &run.source {
            Source::Seed(seed) => BrokenLinks::plan(*seed),
            Source::Plan(plan) => plan.clone(),
        };
        plan.lane = Lane::Full;
        let mut outcome = run_plan(plan, run);
        outcome.record.cpu_ns = cpu_ns() - began;
        outcome
    }
}

fn menu() -> Menu {
    let mut menu = Menu::new(NAME);
    menu.node_counts = vec![1, 3, 3, 5];
    menu.recipes.extend([Recipe::SyncError, Recipe::Ambush]);
    menu.horizon_ns = 30 * SECOND;
    // Jobs end well before.
    menu.liveness_ns = 300 * SECOND;
    // Scheduled jobs begin by the clock of whoever leads.
    menu.max_step_ns = 20 * SECOND;
    menu
}

/// Runs a plan and judges the run.
fn run_plan(plan: FaultPlan, run: &Run) -> Outcome {
    let mutants = Mutants {
        replica: run.mutant.and_then(|planted| planted.replica()),
        tables: run.mutant.and_then(|planted| planted.tables()),
        links: run.mutant.and_then(|planted| planted.links()),
    };
    let mut record = record(NAME, Lane::Full, &plan);
    let chosen = errand::choose(&plan);
    let replicas = choose(&plan, None);
    // The web's machines, those who have jobs, the reader, the operator and the judge.
    let mut settings = Settings::new(plan, WEB_MACHINES + MOST_JOBS + 3);
    settings.timeline = run.timeline;
    settings.marks = MARKS;
    let ended = full::run(settings, move |world| {
        simulate(Stage::new(world), chosen, replicas, mutants)
    });
    record.simulated_ns = ended.simulated.as_nanos() as u64;
    record.messages = ended.counts.segments + ended.counts.datagrams;
    let faults = ended.counts.faults.iter();
    record.faults = faults
        .map(|(kind, count)| (kind.to_string(), *count))
        .filter(|(_, count)| *count > 0)
        .collect();
    record.operations = ended.output.unwrap_or(0);
    record.marks = ended.marks;
    record.trace_hash = format!("{:016x}", ended.trace_hash);
    record.failure = ended.failures.into_iter().next();
    Outcome {
        record,
        timeline: ended.timeline,
    }
}

#[derive(Clone, Copy)]
struct Mutants {
    replica: Option<holdfast_replica::Mutant>,
    tables: Option<holdfast_tables::Mutant>,
    links: Option<holdfast_links::Mutant>,
}

/// Plays a seed; how many links were judged.
async fn simulate(
    stage: Stage,
    chosen: Chosen,
    replicas: settings::Chosen,
    mutants: Mutants,
) -> u64 {
    let world = stage.world.clone();
    let plan = world.plan();
    let web = Web::simulated_without(plan.seed, chosen.hosts, LEFT_OUT);
    let sites = Sites::new(&stage, &web);
    let nodes = plan.nodes;
    let stops: Arc<Vec<Notify>> = Arc::new((0..nodes).map(|_| Notify::new()).collect());
    let mut draws = Draws::new(plan.seed, Domain::Workload, RIG);
    let snapshot_chunk_bytes = draws.magnitude(2_048, 65_536);
    let snapshot_window = snapshot_chunk_bytes * draws.range(2, 9);
    for node in 0..nodes {
        let rig = Rig {
            mutant: mutants.replica,
            tables_mutant: mutants.tables,
            links_mutant: mutants.links,
            observer: Some(stage.observer(node)),
            witness: Some(stage.witness(node)),
            snapshot_chunk_bytes: snapshot_chunk_bytes as usize,
            snapshot_window,
            ..Rig::default()
        };
        let config = config(node, nodes, &chosen, &replicas);
        let (stage, stops, sites) = (stage.clone(), stops.clone(), sites.clone());
        world.machine(&name(node), move |host| {
            let (config, rig) = (config.clone(), rig.clone());
            let (stage, sites) = (stage.clone(), sites.clone());
            live(stage, host, node, config, rig, stops.clone(), sites)
        });
    }
    sites.serve(&chosen);
    let jobs = Jobs::default();
    let mut errands = chosen.errands.clone();
    let asked: Vec<_> = errands
        .iter_mut()
        .map(|errand| {
            errand.set_starts(&web, plan.seed);
            let (stage, errand, jobs) = (stage.clone(), errand.clone(), jobs.clone());
            world.client(&format!("person-{}", errand.number + 1), move |host| {
                people::ask(stage, host, errand, jobs)
            })
        })
        .collect();
    let done = Arc::new(Notify::new());
    let reader = {
        let (stage, done) = (stage.clone(), done.clone());
        world.client("reader", move |host| {
            people::read_along(stage, host, jobs, done)
        })
    };
    let endpoints: Vec<String> = (0..nodes)
        .map(|node| format!("{}:{CLIENT_PORT}", name(node)))
        .collect();
    let operator = {
        let (stage, endpoints) = (stage.clone(), endpoints.clone());
        world.client("operator", move |host| {
            people::operate(stage, host, endpoints, stops)
        })
    };
    let mut ended = Vec::new();
    for person in asked {
        ended.extend(person.await.flatten());
    }
    done.notify_one();
    reader.await;
    operator.await;
    world.sleep_until(world.horizon()).await;
    let judge = world.client("judge", move |host| async move {
        judge::judge(&stage, &host, endpoints, &chosen, &sites, &ended).await
    });
    judge.await.unwrap_or(0)
}

fn name(node: u32) -> String {
    format!("node-{}", node + 1)
}

fn config(node: u32, nodes: u32, chosen: &Chosen, replicas: &settings::Chosen) -> NodeConfig {
    let mut config = NodeConfig::default();
    config.node.id = u64::from(node) + 1;
    config.node.data = "/data".into();
    config.node.listen = SocketAddr::new(World::ip(node), CLIENT_PORT);
    config.node.peer_listen = SocketAddr::new(World::ip(node), PEER_PORT);
    config.node.insecure = true;
    config.cluster.peers = (0..nodes)
        .map(|peer| (u64::from(peer) + 1, format!("{}:{PEER_PORT}", name(peer))))
        .collect();
    let (raft, settings) = (&replicas.settings.raft, &replicas.settings);
    config.raft.election_timeout = Duration::from_nanos(raft.election_timeout);
    config.raft.heartbeat_interval = Duration::from_nanos(raft.heartbeat_interval);
    config.raft.pre_vote = raft.pre_vote;
    config.raft.check_quorum = raft.check_quorum;
    config.raft.lease_reads = raft.lease_reads;
    config.raft.max_clock_drift_ppm = raft.max_clock_drift_ppm;
    config.raft.snapshot_entries = chosen.snapshot_entries;
    config.raft.keep_entries = settings.keep_entries.min(chosen.snapshot_entries / 4);
    config.raft.segment_bytes = replicas.segment_bytes.max(1 << 16);
    config.links.per_host = chosen.per_host;
    config.links.in_flight = chosen.in_flight;
    config.links.timeout = LINK_TIMEOUT;
    config.links.connect_timeout = LINK_TIMEOUT;
    config.links.lease = chosen.lease;
    config
}

/// A node's process, from its start to its end.
async fn live(
    stage: Stage,
    host: Host,
    node: u32,
    config: NodeConfig,
    rig: Rig,
    stops: Arc<Vec<Notify>>,
    sites: Sites,
) {
    let world = &stage.world;
    // Whatever the process before had asked for.
    sites.observed.client_ended(World::ip(node));
    stage.process_began(node);
    let before = world.disk(node, |disk| disk.counts().errors);
    let is_faulty = || world.disk(node, |disk| disk.counts().errors) > before;
    let started = match Node::start_with(host.clone(), config, rig).await {
        Ok(started) => started,
        Err(_) if is_faulty() => {
            world.mark("stopped-by-a-failed-sync");
            return;
        }
        Err(error) => {
            let message = format!("a node cannot start after a crash: {error}");
            world.fail("recovery", message, Some(node));
            return;
        }
    };
    stage.open_door(node, started.tables().clone());
    let told = first(started.failed(), stops[node as usize].notified()).await;
    stage.close_door(node);
    match told {
        First::One(why) if !is_faulty() => world.fail("storage", why, Some(node)),
        First::One(_) => world.mark("stopped-by-a-failed-sync"),
        First::Other(()) => {
            started.shutdown(DRAIN).await;
            world.mark("shut-down-in-order");
        }
    }
}
