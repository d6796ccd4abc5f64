//! `kademlia` in the full lane: nodes of the DHT as they run in production, each on a machine of its own, and people who
//! look things up, announce themselves and store items at them while everything on the fault menu befalls the machines.
//!
//! [`choose`] draws what a seed means, [`stage`] is what everybody knows together, [`ledger`] what was put where and who
//! said so. [`people`] ask, [`census`] asks every node what it stores, and when all is over [`judge`] looks.

mod census;
mod choose;
mod judge;
mod ledger;
mod life;
mod people;
mod stage;

use super::NAME;
use crate::{
    Outcome, Run, Source,
    record::{cpu_ns, record, take_in},
};
use choose::Chosen;
use holdfast_record::Lane;
use holdfast_sim::{
    full::{self, Settings},
    plan::FaultPlan,
};
use stage::Stage;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// What must have happened in some seed. The last three are the world's own.
pub const MARKS: &[&str] = &[
    "announced-peer-found",
    "cas-refused",
    "clock-jumped",
    "datagram-duplicated",
    "datagram-lost",
    "id-kept",
    "item-expired",
    "item-found-after-cut",
    "kept-item-found",
    "kept-peer-found",
    "lookup-during-partition",
    "lookup-given-up",
    "name-resolved-later",
    "newest-item-found",
    "node-restarted",
    "partition-healed",
    "peer-expired",
    "read-only-node",
    "salted-item-found",
    "save-failed",
    "several-paths",
    "shut-down-in-order",
    "table-restored",
    "table-torn",
    "v6-node",
    "all-nodes-lost-power",
    "power-failed-in-a-disk-job",
    "wall-clock-went-back",
];

/// Seeds that a run makes if nobody says how many.
pub(super) const DEFAULT_SEEDS: u64 = 60;
/// People who ask.
const PEOPLE: u32 = 4;
/// Simulated time after the plan's end after which a run is stopped.
const LAST: Duration = Duration::from_secs(20 * 60);

/// Makes a run.
pub(super) fn run(run: &Run) -> Outcome {
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

fn run_plan(plan: FaultPlan, run: &Run) -> Outcome {
    let mutants = Mutants {
        core: run.mutant.and_then(|planted| planted.kademlia()),
        driver: run.mutant.and_then(|planted| planted.peers()),
    };
    let mut record = record(NAME, Lane::Full, &plan);
    let chosen = choose::choose(&plan);
    // Beside those who ask: who operates, who takes the census, and the judge.
    let mut settings = Settings::new(plan, PEOPLE + 3);
    settings.limit += LAST;
    settings.timeline = run.timeline;
    settings.marks = MARKS;
    let mut ended = full::run(settings, move |world| {
        simulate(Stage::new(world, chosen.clone()), chosen, mutants)
    });
    record.operations = ended.output.unwrap_or(0);
    take_in(&mut record, &mut ended);
    Outcome {
        record,
        timeline: ended.timeline,
    }
}

#[derive(Clone, Copy)]
struct Mutants {
    core: Option<holdfast_kademlia::Mutant>,
    driver: Option<holdfast_peers::Mutant>,
}

/// Plays a seed; how much was asked.
async fn simulate(stage: Stage, chosen: Chosen, mutants: Mutants) -> u64 {
    let world = stage.world.clone();
    let nodes = world.plan().nodes;
    let stops: Arc<Vec<Notify>> = Arc::new((0..nodes).map(|_| Notify::new()).collect());
    for node in 0..nodes {
        let settings = chosen.settings(node, mutants.core, mutants.driver);
        let (stage, stops) = (stage.clone(), stops.clone());
        world.machine(&name(node), move |host| {
            life::live(stage.clone(), host, node, settings.clone(), stops.clone())
        });
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
    let counted = {
        let stage = stage.clone();
        world.client("census", move |host| census::watch(stage, host))
    };
    let mut operations = 0;
    for person in asked {
        operations += person.await.unwrap_or(0);
    }
    operator.await;
    counted.await;
    world.sleep_until(world.horizon() + choose::SETTLING).await;
    let judge = world.client("judge", move |host| judge::judge(stage, host, stops));
    operations + judge.await.unwrap_or(0)
}

fn name(node: u32) -> String {
    format!("node-{}", node + 1)
}
