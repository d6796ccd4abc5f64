//! What may be drawn for a scenario.

/// An episode of one or several faults that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipe {
    /// Two sides; often the leader is in the smaller one.
    Partition,
    /// The same partition comes and goes.
    Flap,
    /// Two sides and one node that talks with both.
    Bridge,
    /// Packets get through in one direction only.
    OneWay,
    /// The leader is cut off, another is elected, the old one comes back, the new one dies.
    Depose,
    /// A leader that reaches few followers dies, and so does the next one: entries of many terms are on some nodes
    /// only (Raft, figure 8).
    Splinter,
    /// For a while each new leader dies as soon as it has sent its first messages.
    Ambush,
    /// Whoever leads is attacked, again and again, before it has settled.
    LeaderHunt,
    /// One process ends.
    Kill,
    /// The processes end one after the other.
    RollingKills,
    /// One node dies as soon as it is back.
    CrashLoop,
    /// One machine loses power.
    PowerCut,
    /// All machines, or all but one, lose power at the same moment.
    Blackout,
    /// One process stands still.
    Pause,
    /// Links are clogged one by one and unclogged in another order.
    Swizzle,
    /// Many packets are lost.
    LossBurst,
    /// One disk is slow; its node may die meanwhile, or live through an election that takes less time than one batch.
    SlowDisk,
    /// A sync fails.
    SyncError,
    /// A wall clock is moved.
    ClockStep,
    /// A clock runs at another rate.
    ClockDrift,
}

impl Recipe {
    /// Everything but [`SyncError`](Recipe::SyncError), which asks of a world that it starts nodes which stopped by
    /// themselves, and [`Ambush`](Recipe::Ambush), which asks that it sees elections as they happen.
    pub const USUAL: [Recipe; 18] = [
        Recipe::Partition,
        Recipe::Flap,
        Recipe::Bridge,
        Recipe::OneWay,
        Recipe::Depose,
        Recipe::Splinter,
        Recipe::LeaderHunt,
        Recipe::Kill,
        Recipe::RollingKills,
        Recipe::CrashLoop,
        Recipe::PowerCut,
        Recipe::Blackout,
        Recipe::Pause,
        Recipe::Swizzle,
        Recipe::LossBurst,
        Recipe::SlowDisk,
        Recipe::ClockStep,
        Recipe::ClockDrift,
    ];
}

/// What may happen to a scenario, and how bad it may get. Each seed turns recipes on and off and draws its own rates
/// within these bounds.
#[derive(Clone, Debug)]
pub struct Menu {
    /// The scenario's name.
    pub scenario: String,
    /// How many nodes there may be; each seed picks one of these.
    pub node_counts: Vec<u32>,
    /// How long faults fly.
    pub horizon_ns: u64,
    /// How long the system has to recover.
    pub liveness_ns: u64,
    /// The recipes that may be turned on.
    pub recipes: Vec<Recipe>,
    /// The mean number of episodes in a run; each seed draws its own between these.
    pub episodes: (u32, u32),
    /// How long the system takes to replace a leader, roughly: attacks on leaders come at this pace.
    pub tempo_ns: u64,
    /// How many nodes may be down at once; absent: all of them.
    pub max_down: Option<u32>,
    /// The largest mean of a one-way delay.
    pub max_delay_ns: u64,
    /// The largest probability of loss while no fault is on.
    pub max_loss: f64,
    /// The largest probability of duplication.
    pub max_duplication: f64,
    /// How late a duplicate may come.
    pub max_duplicate_ns: u64,
    /// The largest drift of a clock, parts per million. Each seed draws its own bound up to this one, for leases to
    /// rely on, and goes to it.
    pub max_drift_ppm: u32,
    /// The probability that some nodes stay unwell through the liveness phase.
    pub outcasts: f64,
    /// The largest step and initial error of a wall clock.
    pub max_step_ns: u64,
}

impl Menu {
    /// Three or five nodes, a minute of all the usual recipes, half a minute to recover, clocks within 200 ppm and
    /// an hour.
    pub fn new(scenario: &str) -> Self {
        const MS: u64 = 1_000_000;
        Menu {
            scenario: scenario.to_owned(),
            node_counts: vec![3, 5],
            horizon_ns: 60_000 * MS,
            liveness_ns: 30_000 * MS,
            recipes: Recipe::USUAL.to_vec(),
            episodes: (2, 9),
            tempo_ns: 300 * MS,
            max_down: None,
            max_delay_ns: 20 * MS,
            max_loss: 0.1,
            max_duplication: 0.1,
            max_duplicate_ns: 120_000 * MS,
            max_drift_ppm: 200,
            outcasts: 0.0,
            max_step_ns: 3_600_000 * MS,
        }
    }
}
