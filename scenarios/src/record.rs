//! Records of runs: how they begin, and what every run of a lane leaves in them.

use holdfast_record::{Failure, Lane, SeedRecord};
use holdfast_sim::{check::Violation, full::Ended, plan::FaultPlan};
use rustix::time::{ClockId, clock_gettime};

/// A record of a run in which nothing was counted yet.
pub(crate) fn record(scenario: &str, lane: Lane, plan: &FaultPlan) -> SeedRecord {
    SeedRecord {
        scenario: scenario.into(),
        lane,
        seed: plan.seed,
        nodes: plan.nodes,
        simulated_ns: 0,
        cpu_ns: 0,
        messages: 0,
        operations: 0,
        unknown: 0,
        faults: Default::default(),
        marks: Default::default(),
        trace_hash: String::new(),
        failure: None,
    }
}

/// Takes in what a run of the full lane came to; what it returned is the scenario's to count.
pub(crate) fn take_in<T>(record: &mut SeedRecord, ended: &mut Ended<T>) {
    record.simulated_ns = ended.simulated.as_nanos() as u64;
    record.messages = ended.counts.segments + ended.counts.datagrams;
    let links = &ended.counts.links;
    let faults = ended.counts.faults.iter();
    record.faults = faults
        .map(|(kind, count)| (kind.to_string(), *count))
        .chain([
            ("packet_lost".into(), links.lost),
            ("packet_duplicated".into(), links.duplicated),
            ("packet_held".into(), links.held),
        ])
        .filter(|(_, count)| *count > 0)
        .collect();
    record.marks = std::mem::take(&mut ended.marks);
    record.trace_hash = format!("{:016x}", ended.trace_hash);
    record.failure = std::mem::take(&mut ended.failures).into_iter().next();
}

/// The failure that a violation is.
pub(crate) fn failure((at_ns, violation): &(u64, Violation)) -> Failure {
    Failure {
        property: violation.property.into(),
        message: violation.message.clone(),
        at_ns: violation.at_ns.unwrap_or(*at_ns),
        node: violation.node,
    }
}

/// CPU time that this process has used, nanoseconds.
pub(crate) fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
