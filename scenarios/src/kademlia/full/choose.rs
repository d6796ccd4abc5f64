//! What a seed means: what befalls the nodes and for how long, who they are, and what is asked of them.

use holdfast_kademlia::Config;
use holdfast_peers::{LocalNode, Mutant, Settings};
use holdfast_sim::{
    draw::{Domain, Draws},
    full::World,
    plan::{FaultPlan, Menu, Recipe},
};
use std::{net::SocketAddr, time::Duration};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

/// Where nodes listen in IPv4 and in IPv6.
pub(super) const PORTS: [u16; 2] = [6881, 6882];
/// Where tables are kept.
pub(super) const DIRECTORY: &str = "/data/dht";
/// The name that is not known in the beginning.
pub(super) const LATE_NAME: &str = "late";
/// Nodes that others begin with; they are in both families where there are two, and answer.
pub(super) const WELL_KNOWN: u32 = 3;
/// Time after the last fault until every node must know others again: the longest pause before a node without
/// contacts tries again (five minutes), and twice that after which a node looks itself up and asks those that it has taken
/// for dead (a quarter of an hour): the first to do so may have nobody to ask who knows better.
pub(super) const SETTLING: Duration = Duration::from_secs(36 * 60);
/// What the judge needs besides.
const JUDGEMENT: u64 = 10 * MINUTE;
/// How long after the last fault peers that nobody announced again have expired everywhere.
const PEERS_EXPIRED: u64 = 52 * MINUTE;
/// The same of items.
const ITEMS_EXPIRED: u64 = 126 * MINUTE;

/// Entities of [`Domain::Scenario`].
const SHAPE: u64 = 1;
const NODES: u64 = 1 << 32;

/// One node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// In which families it is.
    pub families: [bool; 2],
    /// It only asks.
    pub is_read_only: bool,
}

/// All that a seed decides beside the plan.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// The nodes.
    pub kinds: Vec<Kind>,
    /// How often tables are saved.
    pub save_interval: Duration,
    /// How long a lookup may take.
    pub patience: Duration,
    /// Paths of a lookup.
    pub paths: usize,
    /// How many nodes the others are told of.
    pub well_known: u32,
    /// Whether they are told of a name besides that is not known at first, and when it is: never, perhaps.
    pub late_name: Option<Option<Duration>>,
    /// The probability that a file is damaged while its node is down.
    pub damage: f64,
    /// The mean pause of a person between two requests.
    pub pause: Duration,
    /// When, after the last fault, it is looked again for what was kept and what has expired.
    pub last_look: Option<Duration>,
}

/// What befalls the nodes in a seed.
pub(super) fn plan(seed: u64) -> FaultPlan {
    let mut plan = FaultPlan::draw(seed, &menu());
    let mut shape = Draws::new(seed, Domain::Scenario, SHAPE);
    // The recipes are made for elections, which take less than a second; tables take minutes.
    let most = if plan.nodes > 60 { 4 } else { 30 };
    let slowness = shape.magnitude(1, most);
    plan.horizon_ns *= slowness;
    for fault in &mut plan.faults {
        fault.at_ns *= slowness;
        fault.until_ns = fault.until_ns.map(|until| until * slowness);
    }
    plan.liveness_ns = SETTLING.as_nanos() as u64 + JUDGEMENT;
    let lot = shape.unit();
    if lot < 0.12 && plan.nodes <= 40 {
        plan.liveness_ns = ITEMS_EXPIRED + JUDGEMENT;
    } else if lot < 0.35 && plan.nodes <= 60 {
        plan.liveness_ns = PEERS_EXPIRED + JUDGEMENT;
    }
    plan
}

fn menu() -> Menu {
    let mut menu = Menu::new(super::super::NAME);
    menu.node_counts = vec![20, 20, 24, 28, 32, 36, 40, 40, 40, 44, 48, 56, 80, 120, 200];
    menu.recipes.push(Recipe::SyncError);
    menu.horizon_ns = MINUTE;
    menu.liveness_ns = SETTLING.as_nanos() as u64;
    menu
}

/// Draws the rest.
pub(super) fn choose(plan: &FaultPlan) -> Chosen {
    let mut draws = Draws::new(plan.seed, Domain::Scenario, NODES);
    let has_v6 = draws.chance(0.5);
    let read_only = if draws.chance(0.5) { 0.1 } else { 0.0 };
    let well_known = draws.range(1, u64::from(WELL_KNOWN) + 1) as u32;
    let kinds = (0..plan.nodes)
        .map(|node| {
            let (family, asks) = (draws.unit(), draws.chance(read_only));
            let families = match family {
                _ if !has_v6 => [true, false],
                _ if node < WELL_KNOWN => [true, true],
                lot if lot < 0.15 => [false, true],
                lot if lot < 0.5 => [true, true],
                _ => [true, false],
            };
            Kind {
                families,
                is_read_only: asks && node >= WELL_KNOWN,
            }
        })
        .collect();
    let horizon = Duration::from_nanos(plan.horizon_ns);
    let liveness = plan.liveness_ns.saturating_sub(JUDGEMENT);
    Chosen {
        kinds,
        save_interval: Duration::from_nanos(draws.magnitude(2 * SECOND, 300 * SECOND)),
        patience: Duration::from_nanos(draws.magnitude(8 * SECOND, 60 * SECOND)),
        paths: if draws.chance(0.3) { 3 } else { 1 },
        well_known,
        late_name: draws.chance(0.5).then(|| {
            let at = Duration::from_nanos(draws.range(0, plan.horizon_ns));
            draws.chance(0.6).then_some(at)
        }),
        damage: if draws.chance(0.5) { 0.3 } else { 0.0 },
        pause: horizon / 50,
        last_look: (liveness > SETTLING.as_nanos() as u64).then(|| Duration::from_nanos(liveness)),
    }
}

impl Chosen {
    /// What a node is started with.
    pub(super) fn settings(
        &self,
        node: u32,
        config: Option<holdfast_kademlia::Mutant>,
        mutant: Option<Mutant>,
    ) -> Settings {
        let kind = self.kinds[node as usize];
        let v4 = SocketAddr::new(World::ip(node), PORTS[0]);
        let v6 = SocketAddr::new(World::ip6(node), PORTS[1]);
        let as_v4 = |address| match address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        };
        let as_v6 = |address| match address {
            SocketAddr::V6(address) => Some(address),
            SocketAddr::V4(_) => None,
        };
        let mut bootstrap = Vec::new();
        for known in 0..self.well_known {
            bootstrap.push(format!("{}:{}", super::name(known), PORTS[0]));
            if self.kinds[known as usize].families[1] {
                bootstrap.push(format!("[{}]:{}", World::ip6(known), PORTS[1]));
            }
        }
        if self.late_name.is_some() {
            bootstrap.push(format!("{LATE_NAME}:{}", PORTS[0]));
        }
        Settings {
            nodes: vec![LocalNode {
                v4: kind.families[0].then_some(v4).and_then(as_v4),
                v6: kind.families[1].then_some(v6).and_then(as_v6),
                id: None,
                external: None,
            }],
            config: Config {
                read_only: kind.is_read_only,
                paths: self.paths,
                mutant: config,
                ..Config::default()
            },
            bootstrap,
            directory: Some(DIRECTORY.into()),
            save_interval: self.save_interval,
            patience: self.patience,
            is_direct: false,
            mutant,
        }
    }
}
