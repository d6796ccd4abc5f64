//! How the replicas of one seed are configured. Options whose every value must be safe are drawn: a bug that shows
//! only without pre-vote, or only with leases, is found by the seeds that run so.

use holdfast_raft::{Config, Membership};
use holdfast_replica::{Mutant, Settings};
use holdfast_sim::{
    draw::{Domain, Draws},
    plan::FaultPlan,
};

const MS: u64 = 1_000_000;

/// The entity of [`Domain::Workload`] that draws settings; clients are numbered from zero.
const ENTITY: u64 = u64::MAX;

/// What one seed decides for all of its replicas and clients.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The replicas' settings; the id is filled in for each.
    pub settings: Settings,
    /// Bytes after which a log begins a new segment.
    pub segment_bytes: u64,
    /// Bytes in which snapshots are sent.
    pub snapshot_chunk_bytes: usize,
    /// How many clients there are.
    pub clients: u32,
    /// How many keys they share.
    pub keys: u32,
    /// The share of clients that have a session.
    pub sessions: f64,
    /// Mean nanoseconds between two orders to hand leadership over; `None`: nobody gives any.
    pub transfers_every: Option<u64>,
}

/// The settings of a seed.
pub fn choose(plan: &FaultPlan, mutant: Option<Mutant>) -> Chosen {
    let mut draws = Draws::new(plan.seed, Domain::Workload, ENTITY);
    let check_quorum = draws.chance(0.8);
    let election_timeout = draws.magnitude(150 * MS, 1_000 * MS);
    let voters = (1..=u64::from(plan.nodes)).collect();
    // Some replicate entry by entry: whatever may happen between two of them then does. With few messages in flight
    // as well nobody would ever catch up.
    let is_narrow = draws.chance(0.3);
    let raft = Config {
        id: 1,
        membership: Membership {
            voters,
            learners: Vec::new(),
        },
        election_timeout,
        heartbeat_interval: election_timeout / draws.range(3, 11),
        max_inflight_messages: draws.magnitude(if is_narrow { 32 } else { 1 }, 256) as usize,
        max_inflight_bytes: draws.magnitude(1 << 12, 1 << 20),
        max_append_bytes: if is_narrow {
            1
        } else {
            draws.magnitude(1 << 11, 1 << 16)
        },
        max_uncommitted_bytes: 1 << 20,
        max_apply_bytes: draws.magnitude(256, 1 << 20),
        max_pending_reads: 1_000,
        pre_vote: draws.chance(0.7),
        check_quorum,
        lease_reads: check_quorum && draws.chance(0.6),
        max_clock_drift_ppm: plan.drift_bound_ppm.max(500),
        mutant: mutant.and_then(Mutant::raft),
    };
    let snapshots = draws.chance(0.7);
    let snapshot_entries = match snapshots {
        true => draws.magnitude(20, 2_000),
        false => 1_000_000,
    };
    // Small pieces and few of them under way over slow links would outlast every run.
    let snapshot_chunk_bytes = draws.magnitude(256, 10_000);
    let snapshot_window = snapshot_chunk_bytes * draws.range(4, 17);
    Chosen {
        settings: Settings {
            raft,
            max_command_bytes: 1 << 16,
            max_pending: 1_000,
            request_timeout: 2_000 * MS,
            snapshot_entries,
            snapshot_bytes: 1 << 30,
            keep_entries: draws.magnitude(1, 500),
            hold_bytes: draws.magnitude(1 << 10, 1 << 17),
            snapshot_retry: 500 * MS,
            snapshot_window,
            mutant,
        },
        snapshot_chunk_bytes: snapshot_chunk_bytes as usize,
        segment_bytes: draws.magnitude(1 << 10, 1 << 18),
        clients: draws.range(8, 17) as u32,
        keys: draws.magnitude(2, 32) as u32,
        sessions: *draws.pick(&[0.0, 0.5, 1.0]),
        transfers_every: draws
            .chance(0.4)
            .then(|| draws.magnitude(300 * MS, 10_000 * MS)),
    }
}
