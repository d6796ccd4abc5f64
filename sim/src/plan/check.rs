//! Whether a plan makes sense, and the errors that say why not.

use super::{Affliction, DiskProfile, FaultKind, FaultPlan, NetworkProfile, PLAN_VERSION, Target};
use crate::clock::MAX_DRIFT_PPM;
use std::{collections::BTreeSet, io};

/// The most nodes of a plan.
pub const MAX_NODES: u32 = 10_000;
/// The most faults of a plan.
pub const MAX_FAULTS: usize = 10_000;
/// The longest run, both phases together: 30 days of simulated time.
pub const MAX_RUN_NS: u64 = 30 * 24 * 3_600 * 1_000_000_000;

/// The longest delay of a packet or of a disk, nanoseconds.
const MAX_DELAY_NS: u64 = 60_000_000_000;
/// The latest duplicate, nanoseconds.
const MAX_DUPLICATE_NS: u64 = 3_600_000_000_000;
/// The slowest a disk gets.
const MAX_FACTOR: u32 = 10_000;
/// The largest step or offset of a wall clock: a year, nanoseconds.
const MAX_STEP_NS: u64 = 365 * 24 * 3_600 * 1_000_000_000;

/// Why a fault plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The text is not a plan.
    #[error("{file}:{line}:{column}: {problem}")]
    Malformed {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What was found and what was expected.
        problem: String,
    },
    /// The plan contradicts itself or asks for something impossible.
    #[error("{file}: {field}: {problem}")]
    Invalid {
        /// The file.
        file: String,
        /// The field, e.g. `faults[3].kind.targets[0]`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl PlanError {
    pub(super) fn malformed(file: &str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let problem = error.to_string();
        let position = format!(" at line {line} column {column}");
        PlanError::Malformed {
            file: file.to_owned(),
            line,
            column,
            problem: problem.trim_end_matches(&position).to_owned(),
        }
    }
}

/// A field and what is wrong with it.
type Complaint = (String, String);

fn demand(
    holds: bool,
    field: impl Into<String>,
    problem: impl Into<String>,
) -> Result<(), Complaint> {
    match holds {
        true => Ok(()),
        false => Err((field.into(), problem.into())),
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    value: T,
    low: T,
    high: T,
    field: impl Into<String>,
) -> Result<(), Complaint> {
    // Written so that a NaN is outside.
    let holds = value >= low && value <= high;
    demand(holds, field, format!("{value} is not in {low}..={high}"))
}

impl FaultPlan {
    /// Whether the plan makes sense; if not, the field and what is wrong with it.
    pub fn check(&self) -> Result<(), (String, String)> {
        demand(
            self.version == PLAN_VERSION,
            "version",
            format!(
                "{}, but this build reads version {PLAN_VERSION}",
                self.version
            ),
        )?;
        within(self.nodes, 1, MAX_NODES, "nodes")?;
        within(self.horizon_ns, 1, MAX_RUN_NS, "horizon_ns")?;
        within(
            self.liveness_ns,
            0,
            MAX_RUN_NS - self.horizon_ns,
            "liveness_ns",
        )?;
        self.network.check()?;
        self.disk.check()?;
        demand(
            self.clocks.len() == self.nodes as usize,
            "clocks",
            format!(
                "{} clocks, but the plan has {} nodes",
                self.clocks.len(),
                self.nodes
            ),
        )?;
        for (place, clock) in self.clocks.iter().enumerate() {
            let field = |name| format!("clocks[{place}].{name}");
            within(
                clock.offset_ns.unsigned_abs(),
                0,
                MAX_STEP_NS,
                field("offset_ns"),
            )?;
            within(
                clock.drift_ppm,
                -MAX_DRIFT_PPM,
                MAX_DRIFT_PPM,
                field("drift_ppm"),
            )?;
        }
        within(
            self.drift_bound_ppm,
            0,
            MAX_DRIFT_PPM as u32,
            "drift_bound_ppm",
        )?;
        self.check_faults()?;
        self.check_outcasts()
    }

    fn check_outcasts(&self) -> Result<(), Complaint> {
        demand(
            self.outcasts.is_empty() || self.outcasts.len() * 2 < self.nodes as usize,
            "outcasts",
            format!(
                "{} of {} nodes leave no majority",
                self.outcasts.len(),
                self.nodes
            ),
        )?;
        let mut seen = BTreeSet::new();
        for (place, outcast) in self.outcasts.iter().enumerate() {
            let field = format!("outcasts[{place}].node");
            let node = outcast.node;
            let problem = format!("node {node}, but the plan has {} nodes", self.nodes);
            demand(node < self.nodes, field.clone(), problem)?;
            demand(
                seen.insert(node),
                field,
                format!("node {node} is one already"),
            )?;
        }
        for (place, outcast) in self.outcasts.iter().enumerate() {
            if let Affliction::Bridged { to } = outcast.kind {
                demand(
                    to < self.nodes && !seen.contains(&to),
                    format!("outcasts[{place}].kind.bridged.to"),
                    format!("node {to} is not one of the others"),
                )?;
            }
        }
        Ok(())
    }

    fn check_faults(&self) -> Result<(), Complaint> {
        demand(
            self.faults.len() <= MAX_FAULTS,
            "faults",
            format!("{} faults, at most {MAX_FAULTS}", self.faults.len()),
        )?;
        let mut ids = BTreeSet::new();
        let mut latest = 0;
        for (place, fault) in self.faults.iter().enumerate() {
            let field = |name| format!("faults[{place}].{name}");
            demand(
                ids.insert(fault.id),
                field("id"),
                format!("{} is taken by an earlier fault", fault.id),
            )?;
            demand(
                fault.at_ns >= latest,
                field("at_ns"),
                format!("{} is before the fault ahead of it", fault.at_ns),
            )?;
            latest = fault.at_ns;
            demand(
                fault.at_ns < self.horizon_ns,
                field("at_ns"),
                format!("{} is not in the safety phase", fault.at_ns),
            )?;
            if let Some(until) = fault.until_ns {
                demand(
                    fault.kind.lasts(),
                    field("until_ns"),
                    format!("a {} does not last", fault.kind.name()),
                )?;
                demand(
                    until > fault.at_ns,
                    field("until_ns"),
                    format!("{until} is not after at_ns"),
                )?;
            }
            self.check_kind(place, &fault.kind)?;
        }
        Ok(())
    }

    fn check_kind(&self, place: usize, kind: &FaultKind) -> Result<(), Complaint> {
        let field = |name| format!("faults[{place}].kind.{}.{name}", kind.name());
        for (name, targets) in kind.targets() {
            demand(!targets.is_empty(), field(name), "names nobody")?;
            for (at, target) in targets.iter().enumerate() {
                if let Target::Node(node) = target {
                    demand(
                        *node < self.nodes,
                        format!("{}[{at}]", field(name)),
                        format!("node {node}, but the plan has {} nodes", self.nodes),
                    )?;
                }
            }
        }
        match kind {
            FaultKind::Bridge { bridge, .. } => demand(
                *bridge != Target::All,
                field("bridge"),
                "a bridge is one node",
            ),
            FaultKind::Loss { probability, .. } => {
                within(*probability, 0.0, 1.0, field("probability"))
            }
            FaultKind::SlowDisk { factor, .. } => within(*factor, 1, MAX_FACTOR, field("factor")),
            FaultKind::ClockStep { delta_ns, .. } => {
                within(delta_ns.unsigned_abs(), 0, MAX_STEP_NS, field("delta_ns"))
            }
            FaultKind::ClockDrift { drift_ppm, .. } => within(
                *drift_ppm,
                -MAX_DRIFT_PPM,
                MAX_DRIFT_PPM,
                field("drift_ppm"),
            ),
            FaultKind::Ambush { lives_ns, down_ns } => {
                within(*lives_ns, 0, MAX_RUN_NS, field("lives_ns"))?;
                within(*down_ns, 0, MAX_RUN_NS, field("down_ns"))
            }
            FaultKind::Partition { .. }
            | FaultKind::Isolate { .. }
            | FaultKind::OneWay { .. }
            | FaultKind::Hold { .. }
            | FaultKind::Kill { .. }
            | FaultKind::PowerCut { .. }
            | FaultKind::Pause { .. }
            | FaultKind::SyncError { .. } => Ok(()),
        }
    }
}

impl NetworkProfile {
    fn check(&self) -> Result<(), Complaint> {
        within(self.delay_min_ns, 0, MAX_DELAY_NS, "network.delay_min_ns")?;
        within(self.delay_tail_ns, 0, MAX_DELAY_NS, "network.delay_tail_ns")?;
        within(self.variation, 1.0, 100.0, "network.variation")?;
        within(self.loss, 0.0, 1.0, "network.loss")?;
        within(self.duplication, 0.0, 1.0, "network.duplication")?;
        within(
            self.duplicate_within_ns,
            1,
            MAX_DUPLICATE_NS,
            "network.duplicate_within_ns",
        )?;
        match self.bytes_per_second {
            Some(rate) => within(rate, 1_000, 1_000_000_000_000, "network.bytes_per_second"),
            None => Ok(()),
        }
    }
}

impl DiskProfile {
    fn check(&self) -> Result<(), Complaint> {
        for (name, time) in [
            ("read_ns", self.read_ns),
            ("write_ns", self.write_ns),
            ("sync_min_ns", self.sync_min_ns),
            ("sync_tail_ns", self.sync_tail_ns),
            ("sector_ns", self.sector_ns),
        ] {
            within(time, 0, MAX_DELAY_NS, format!("disk.{name}"))?;
        }
        let cut = &self.power_cut;
        for (name, probability) in [
            ("short_io", self.short_io),
            ("read_error", self.read_error),
            ("write_error", self.write_error),
            ("sync_error", self.sync_error),
            ("write_back", self.write_back),
            ("power_cut.lose_all", cut.lose_all),
            ("power_cut.keep_all", cut.keep_all),
            ("power_cut.keep_length", cut.keep_length),
            ("power_cut.keep_name", cut.keep_name),
            ("power_cut.names_in_order", cut.names_in_order),
        ] {
            within(probability, 0.0, 1.0, format!("disk.{name}"))?;
        }
        let weights = [
            ("keep", cut.keep),
            ("lose", cut.lose),
            ("tear", cut.tear),
            ("garbage", cut.garbage),
        ];
        for (name, weight) in weights {
            within(weight, 0.0, 1e6, format!("disk.power_cut.{name}"))?;
        }
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        demand(
            sum > 0.0,
            "disk.power_cut",
            "all weights of sectors are zero",
        )
    }
}
