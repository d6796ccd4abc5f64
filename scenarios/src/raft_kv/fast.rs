//! `raft-kv` in the fast lane.

use super::{
    NAME, Story,
    panics::without_panic,
    settings::{Chosen, choose},
    workload::{self, Generator},
};
use crate::{
    BLACK_BOX, Outcome, Run,
    record::{failure, record},
};
use bytes::Bytes;
use holdfast_kv::{KeyRange, Kv, KvCommand, KvError, KvOutcome};
use holdfast_record::Lane;
use holdfast_replica::Consistency;
use holdfast_sim::{
    check::{
        Violation,
        explained::explained,
        kv::{self, Change, Watch},
    },
    draw::{Domain, Draws},
    fast::{self, ClientOptions, Cluster, Setup, Workload},
    plan::FaultPlan,
};
use std::{fmt, num::NonZeroU64};

pub use holdfast_sim::fast::MARKS;

const MS: u64 = 1_000_000;

/// The mean pause of each client between calls, for each client that there is: together they make about a hundred
/// calls a second.
const PAUSE_PER_CLIENT: u64 = 7 * MS;

/// Most events that a watcher is told at once.
const WATCH_LIMIT: usize = 256;

/// Runs a plan and judges the run.
pub fn run(plan: FaultPlan, run: &Run) -> Outcome {
    let chosen = choose(&plan, run.mutant.and_then(|planted| planted.replica()));
    let workload = KvWorkload::new(plan.seed, &chosen);
    let mut record = record(NAME, Lane::Fast, &plan);
    let setup = Setup {
        settings: chosen.settings,
        segment_bytes: chosen.segment_bytes,
        snapshot_chunk_bytes: chosen.snapshot_chunk_bytes,
        machine: Kv::new(),
        clients: ClientOptions {
            clients: chosen.clients,
            attempt_timeout: 1_000 * MS,
            attempts: 20,
            retry_pause: 50 * MS,
        },
        transfers_every: chosen.transfers_every,
        marks: MARKS,
        plan,
    };
    let written = run.timeline.then(|| setup.plan.to_json());
    let mut cluster = Cluster::new(setup, workload, run.timeline);
    if run.black_box {
        cluster.heed_only(BLACK_BOX);
    }
    let ended = without_panic(|| {
        cluster.run();
        match cluster.violation() {
            Some(_) => Ok(()),
            None => judge(&cluster),
        }
    });
    if let Err(violation) = ended {
        cluster.fail(violation);
    }
    let counts = cluster.counts();
    record.simulated_ns = cluster.now();
    record.messages = counts.messages;
    record.operations = counts.answered;
    record.unknown = counts.unknown;
    record.faults = counts
        .faults
        .iter()
        .map(|(kind, count)| (kind.to_string(), *count))
        .collect();
    record.marks = cluster.marks().counts();
    record.trace_hash = format!("{:016x}", cluster.hash());
    record.failure = cluster.violation().map(failure);
    let timeline = written.and_then(|plan| cluster.finish_timeline(plan));
    Outcome { record, timeline }
}

/// What must hold of a run that has come to its end.
fn judge(cluster: &Cluster<KvWorkload>) -> Result<(), Violation> {
    let story = story(cluster);
    story.check()?;
    explained(&story.history, &story.changes)?;
    cluster.workload().check_watches()
}

/// What the run tells of the store; watches and compactions are not in the history of operations.
fn story(cluster: &Cluster<KvWorkload>) -> Story {
    let history = cluster.history().iter().filter_map(|operation| {
        let KvCall::Kv(call) = &operation.call else {
            return None;
        };
        let returned = match &operation.returned {
            Some((at, KvAnswer::Kv(answer))) => Some((*at, answer.clone())),
            Some((_, other)) => panic!("{call:?} was answered with {other:?}"),
            None => None,
        };
        Some(kv::Operation {
            client: operation.client,
            called: operation.called,
            call: call.clone(),
            returned,
        })
    });
    let workload = cluster.workload();
    Story {
        history: history.collect(),
        watches: workload.watches(),
        changes: workload.changes.clone(),
    }
}

/// What a client of the fast lane asks.
#[derive(Clone, Debug, Hash)]
pub enum KvCall {
    /// Something for the history.
    Kv(kv::Call),
    /// What has happened since the client's watch was last told?
    Watch {
        /// The revision to go on from.
        from: u64,
    },
    /// Forget what was before a revision.
    Compact {
        /// The oldest that stays.
        revision: NonZeroU64,
    },
}

/// What it is told.
#[derive(Clone, Debug, Hash)]
pub enum KvAnswer {
    /// The outcome of a call of the history.
    Kv(kv::Answer),
    /// What happened.
    Watched {
        /// The changes, in order.
        changes: Vec<Change>,
        /// The revision to go on from.
        next: u64,
    },
    /// What was asked for is compacted.
    Gone {
        /// The oldest revision that is kept.
        oldest: u64,
    },
    /// Compacted, or refused because it was already.
    Compacted,
}

impl fmt::Display for KvCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KvCall::Kv(call) => write!(f, "{call}"),
            KvCall::Watch { from } => write!(f, "watch from rev {from}"),
            KvCall::Compact { revision } => write!(f, "compact before rev {revision}"),
        }
    }
}

impl fmt::Display for KvAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KvAnswer::Kv(answer) => write!(f, "{answer}"),
            KvAnswer::Watched { changes, next } => {
                write!(f, "{} changes, go on from rev {next}", changes.len())
            }
            KvAnswer::Gone { oldest } => write!(f, "gone, oldest is rev {oldest}"),
            KvAnswer::Compacted => write!(f, "compacted"),
        }
    }
}

/// One client.
#[derive(Clone, Debug)]
struct Actor {
    generator: Generator,
    has_session: bool,
    /// The highest revision that it was told.
    revision: u64,
    /// Its watches; the last is under way.
    watches: Vec<Watch>,
}

/// What all clients do, and what the committed log did.
#[derive(Clone)]
pub struct KvWorkload {
    actors: Vec<Actor>,
    mean_pause: u64,
    changes: Vec<Change>,
    /// The revision up to which `changes` go.
    collected: u64,
    /// The highest revision that any client had been told when the faults ended.
    acknowledged: u64,
}

impl KvWorkload {
    fn new(seed: u64, chosen: &Chosen) -> Self {
        let actor = |client: u32| {
            let mut draws = Draws::new(seed, Domain::Workload, u64::from(client) + (1 << 32));
            Actor {
                generator: Generator::new(seed, client, chosen.keys),
                has_session: draws.chance(chosen.sessions),
                revision: 1,
                watches: vec![watch_from(1)],
            }
        };
        KvWorkload {
            actors: (0..chosen.clients).map(actor).collect(),
            mean_pause: PAUSE_PER_CLIENT * u64::from(chosen.clients),
            changes: Vec::new(),
            collected: 1,
            acknowledged: 0,
        }
    }

    /// Every watch has been told of everything that anybody knew of when the faults ended.
    fn check_watches(&self) -> Result<(), Violation> {
        for (client, actor) in self.actors.iter().enumerate() {
            let last = actor.watches.last().expect("a watch is under way");
            if last.complete_before <= self.acknowledged {
                let message = format!(
                    "the watch of client {client} ends before revision {}; revision {} was acknowledged before the faults ended",
                    last.complete_before, self.acknowledged
                );
                return Err(Violation::new("watch-progress", message));
            }
        }
        Ok(())
    }

    fn watches(&self) -> Vec<Watch> {
        let all = self.actors.iter().flat_map(|actor| &actor.watches);
        all.cloned().collect()
    }
}

pub(super) fn watch_from(from: u64) -> Watch {
    Watch {
        from,
        seen: Vec::new(),
        complete_before: from,
    }
}

impl Workload for KvWorkload {
    type Machine = Kv;
    type Call = KvCall;
    type Answer = KvAnswer;

    fn call(&mut self, client: u32) -> KvCall {
        let actor = &mut self.actors[client as usize];
        let watch = actor
            .watches
            .last()
            .expect("the first begins with the client");
        match actor.generator.draws().range(0, 1_000) {
            0..100 => KvCall::Watch {
                from: watch.complete_before,
            },
            100..102 => KvCall::Compact {
                revision: NonZeroU64::new(actor.revision).expect("revisions begin with 1"),
            },
            _ => KvCall::Kv(actor.generator.call()),
        }
    }

    fn healed(&mut self) {
        let told = self.actors.iter().map(|actor| actor.revision);
        self.acknowledged = told.max().unwrap_or(0);
    }

    fn closing(&mut self, client: u32) -> Option<KvCall> {
        let watches = &self.actors[client as usize].watches;
        let from = watches
            .last()
            .expect("a watch is under way")
            .complete_before;
        (from <= self.acknowledged).then_some(KvCall::Watch { from })
    }

    fn pause(&mut self, client: u32) -> u64 {
        let mean = self.mean_pause;
        self.actors[client as usize].generator.pause(mean)
    }

    fn has_session(&self, client: u32) -> bool {
        self.actors[client as usize].has_session
    }

    fn command(&self, call: &KvCall) -> Option<Bytes> {
        match call {
            KvCall::Kv(call) => workload::command(call).map(|command| command.encode()),
            KvCall::Watch { .. } => None,
            KvCall::Compact { revision } => Some(
                KvCommand::Compact {
                    revision: revision.get(),
                }
                .encode(),
            ),
        }
    }

    fn is_command(&self, call: &KvCall) -> bool {
        match call {
            KvCall::Kv(call) => workload::is_command(call),
            KvCall::Watch { .. } => false,
            KvCall::Compact { .. } => true,
        }
    }

    fn consistency(&self, call: &KvCall) -> Consistency {
        match call {
            KvCall::Watch { .. } => Consistency::Stale,
            _ => Consistency::Linearizable,
        }
    }

    fn committed(&mut self, machine: &Kv) {
        if machine.revision() < self.collected {
            return;
        }
        let (changes, next) = changes_since(machine, self.collected, usize::MAX)
            .expect("clients compact what they have seen");
        self.changes.extend(changes);
        self.collected = next;
    }

    fn read(&self, machine: &Kv, call: &KvCall) -> KvAnswer {
        match call {
            KvCall::Kv(call) => KvAnswer::Kv(workload::read(machine, call)),
            KvCall::Watch { from } => match changes_since(machine, *from, WATCH_LIMIT) {
                Ok((changes, next)) => KvAnswer::Watched { changes, next },
                Err(KvError::Compacted {
                    compact_revision, ..
                }) => KvAnswer::Gone {
                    oldest: compact_revision,
                },
                Err(other) => {
                    panic!("a watch is refused only when it asks for too old a past: {other}")
                }
            },
            KvCall::Compact { .. } => unreachable!("a compaction is no read"),
        }
    }

    fn answer(&self, call: &KvCall, outcome: &fast::Outcome) -> Option<KvAnswer> {
        let outcome = workload::outcome(outcome)?;
        match (call, outcome) {
            (KvCall::Kv(call), outcome) => workload::answer(call, &outcome).map(KvAnswer::Kv),
            (
                KvCall::Compact { .. },
                KvOutcome::Compact { .. }
                | KvOutcome::Refused {
                    error: KvError::Compacted { .. },
                    ..
                },
            ) => Some(KvAnswer::Compacted),
            _ => None,
        }
    }

    fn learn(&mut self, client: u32, call: &KvCall, answer: &KvAnswer) {
        let actor = &mut self.actors[client as usize];
        match (call, answer) {
            (KvCall::Kv(call), KvAnswer::Kv(answer)) => {
                actor.revision = actor.revision.max(answer.revision);
                actor.generator.learn(call, answer);
            }
            (KvCall::Watch { .. }, KvAnswer::Watched { changes, next }) => {
                let watch = actor.watches.last_mut().expect("a watch is under way");
                watch.seen.extend(changes);
                watch.complete_before = *next;
            }
            (KvCall::Watch { .. }, KvAnswer::Gone { oldest }) => {
                actor.watches.push(watch_from(*oldest));
            }
            (KvCall::Compact { .. }, KvAnswer::Compacted) => {}
            other => unreachable!("an answer of another kind: {other:?}"),
        }
    }
}

/// The changes from a revision on, and where to go on.
pub(super) fn changes_since(
    machine: &Kv,
    from: u64,
    limit: usize,
) -> Result<(Vec<Change>, u64), KvError> {
    let mut changes = Vec::new();
    let next = machine.visit_events(&KeyRange::all(), from, limit, |revision, key, value| {
        changes.push(workload::change(revision, key, value));
    })?;
    Ok((changes, next))
}
