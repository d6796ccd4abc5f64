//! `discovery`: a cluster whose members find each other through the DHT, and give blobs that are found there, while
//! everything on the fault menu befalls them and the nodes of the DHT around them.
//!
//! The first machines are members: whole nodes, of which some are told nothing but the cluster's key, and some listen
//! somewhere else after each start. The others are neighbours: nodes of the DHT, at which somebody fetches blobs to the
//! disk. People store, read and delete blobs through the interface. Strangers say that they have blobs and lie, store old
//! lists of members again, and give lists that the cluster's key has not signed.
//!
//! [`choose`] draws what a seed means, [`stage`] is what everybody knows together, [`ledger`] which blobs a member must
//! have. When all is over, [`judge`] looks.

mod choose;
mod judge;
mod ledger;
mod member;
mod neighbour;
mod people;
mod stage;
mod strangers;

use crate::{
    Outcome, Run, Scenario, Source,
    record::{cpu_ns, record, take_in},
};
use holdfast_node::Rig;
use holdfast_record::{
    Lane,
    worker::{LaneInfo, ScenarioInfo},
};
use holdfast_sim::{
    full::{self, Settings},
    plan::FaultPlan,
};
use stage::Stage;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// The scenario.
pub struct Discovery;

const NAME: &str = "discovery";
const DEFAULT_SEEDS: u64 = 60;

/// What must have happened in some seed. The last three are the world's own.
pub const MARKS: &[&str] = &[
    "blob-deleted",
    "blob-fetched",
    "blob-rotten",
    "blob-stored",
    "blob-stored-again",
    "blob-there-after-a-restart",
    "blob-too-large",
    "fetch-resumed",
    "forged-list-told",
    "leader-changed",
    "lie-found-out",
    "list-forgotten",
    "list-kept-by-a-stranger",
    "looked-in-vain",
    "member-moved",
    "members-found-by-key",
    "next-provider-asked",
    "node-restarted",
    "old-list-stored-again",
    "part-read",
    "power-cut-in-a-put",
    "quota-reached",
    "shut-down-in-order",
    "stopped-by-a-failed-sync",
    "stranger-asked",
    "upload-given-up",
    "all-nodes-lost-power",
    "power-failed-in-a-disk-job",
    "wall-clock-went-back",
];

/// People who store and read blobs.
const PEOPLE: u32 = 3;
/// Simulated time after the plan's end after which a run is stopped.
const LAST: Duration = Duration::from_secs(30 * 60);

impl Scenario for Discovery {
    fn info(&self) -> ScenarioInfo {
        ScenarioInfo {
            name: NAME.into(),
            description:
                "members and blobs are found through the DHT, whoever dies, moves, forgets or lies"
                    .into(),
            lanes: vec![LaneInfo {
                lane: Lane::Full,
                default_seeds: DEFAULT_SEEDS,
                marks: MARKS.iter().map(|mark| mark.to_string()).collect(),
            }],
        }
    }

    fn run(&self, run: &Run) -> Outcome {
        let began = cpu_ns();
        let mut plan = match &run.source {
            Source::Seed(seed) => choose::plan(*seed),
            Source::Plan(plan) => plan.clone(),
        };
        plan.lane = Lane::Full;
        let mut outcome = run_plan(plan, run);
        outcome.record.cpu_ns = cpu_ns() - began;
        outcome
    }
}

#[derive(Clone, Copy)]
struct Mutants {
    blobs: Option<holdfast_blobs::Mutant>,
    node: Option<holdfast_node::Mutant>,
}

fn run_plan(plan: FaultPlan, run: &Run) -> Outcome {
    let mutants = Mutants {
        blobs: run.mutant.and_then(|planted| planted.blobs()),
        node: run.mutant.and_then(|planted| planted.node()),
    };
    let mut record = record(NAME, Lane::Full, &plan);
    let chosen = choose::choose(&plan);
    // People, strangers, who forges, who operates, and the judge.
    let clients = PEOPLE + chosen.liars + u32::from(chosen.forges) + 2;
    let mut settings = Settings::new(plan, clients);
    settings.limit += LAST;
    settings.timeline = run.timeline;
    settings.marks = MARKS;
    let mut ended = full::run(settings, move |world| {
        simulate(Stage::new(world, chosen), mutants)
    });
    record.operations = ended.output.unwrap_or(0);
    take_in(&mut record, &mut ended);
    Outcome {
        record,
        timeline: ended.timeline,
    }
}

/// Plays a seed; how much was asked.
async fn simulate(stage: Stage, mutants: Mutants) -> u64 {
    let world = stage.world.clone();
    let nodes = world.plan().nodes;
    let stops: Arc<Vec<Notify>> = Arc::new((0..nodes).map(|_| Notify::new()).collect());
    for node in 0..nodes {
        let (stage, stops) = (stage.clone(), stops.clone());
        if node < stage.chosen.count() {
            let rig = Rig {
                blobs_mutant: mutants.blobs,
                node_mutant: mutants.node,
                observer: Some(stage.observer(node)),
                ..Rig::default()
            };
            world.machine(&name(node), move |host| {
                member::live(stage.clone(), host, node, rig.clone(), stops.clone())
            });
        } else {
            world.machine(&name(node), move |host| {
                neighbour::live(stage.clone(), host, node, mutants.blobs, stops.clone())
            });
        }
    }
    // Clients are numbered after the machines, in this order.
    let mut machine = nodes;
    for number in 0..stage.chosen.liars {
        let stage = stage.clone();
        drop(
            world.client(&format!("stranger-{}", number + 1), move |host| {
                strangers::lie(stage, host, number, machine)
            }),
        );
        machine += 1;
    }
    if stage.chosen.forges {
        let stage = stage.clone();
        drop(world.client("forger", move |host| strangers::forge(stage, host, machine)));
    }
    let asked: Vec<_> = (0..PEOPLE)
        .map(|number| {
            let stage = stage.clone();
            world.client(&format!("person-{}", number + 1), move |host| {
                people::ask(stage, host, number)
            })
        })
        .collect();
    let operator = {
        let (stage, stops) = (stage.clone(), stops.clone());
        world.client("operator", move |host| people::operate(stage, host, stops))
    };
    let mut operations = 0;
    for person in asked {
        operations += person.await.unwrap_or(0);
    }
    operator.await;
    world
        .sleep_until(world.horizon() + stage.chosen.settling())
        .await;
    let judge = world.client("judge", move |host| {
        judge::judge(stage, host, PEOPLE, mutants.blobs)
    });
    operations + judge.await.unwrap_or(0)
}

fn name(node: u32) -> String {
    format!("node-{}", node + 1)
}
