//! Drawing a plan from a seed, swarm-style: no seed does everything, each does a few things often.

use super::{
    Affliction, DiskProfile, FaultPlan, Menu, NetworkProfile, Outcast, PLAN_VERSION, PacketOrder,
    PowerCutProfile, Recipe, recipe::Episodes,
};
use crate::{
    clock::ClockProfile,
    draw::{Domain, Draws},
};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// The entities of [`Domain::Plan`]: what one part of a plan draws does not move the others.
#[derive(Clone, Copy)]
enum Part {
    Shape = 1,
    Network,
    Disk,
    Clocks,
    Outcasts,
    /// And above: the episodes, one each.
    Episode = 1_000,
}

impl FaultPlan {
    /// The plan of `seed` for a scenario with this menu.
    ///
    /// # Panics
    /// When the menu contradicts itself: no node count, no time.
    pub fn draw(seed: u64, menu: &Menu) -> FaultPlan {
        let part = |part: Part| Draws::new(seed, Domain::Plan, part as u64);
        let mut shape = part(Part::Shape);
        let nodes = *shape.pick(&menu.node_counts);
        let mut clock_draws = part(Part::Clocks);
        let drift = drift_bound(&mut clock_draws, menu);
        let mut plan = FaultPlan {
            version: PLAN_VERSION,
            scenario: menu.scenario.clone(),
            lane: super::fast(),
            seed,
            nodes,
            horizon_ns: menu.horizon_ns,
            liveness_ns: menu.liveness_ns,
            network: network(&mut part(Part::Network), menu),
            disk: disk(&mut part(Part::Disk)),
            clocks: clocks(&mut clock_draws, menu, drift, nodes),
            drift_bound_ppm: drift,
            faults: Vec::new(),
            outcasts: outcasts(&mut part(Part::Outcasts), menu, nodes),
        };
        plan.faults = faults(seed, &mut shape, menu, drift, nodes);
        let checked = plan.check();
        assert_eq!(checked, Ok(()), "a drawn plan is a good one");
        plan
    }
}

/// A probability in millionths: what JSON prints of it reads back as the same number.
fn chance(draws: &mut Draws, low: f64, high: f64) -> f64 {
    let millionths = (low + draws.unit() * (high - low)) * 1e6;
    millionths.round() / 1e6
}

/// Off in half of the seeds; otherwise small values are as likely as large ones.
fn swarm_rate(draws: &mut Draws, highest: f64) -> f64 {
    let millionths = (highest * 1e6) as u64;
    let on = draws.chance(0.5);
    match on && millionths > 0 {
        true => draws.magnitude(1_000.min(millionths), millionths) as f64 / 1e6,
        false => 0.0,
    }
}

fn network(draws: &mut Draws, menu: &Menu) -> NetworkProfile {
    let most = menu.max_delay_ns.max(200 * US);
    let mean = draws.magnitude(100 * US, most);
    // How much of the mean is jitter: from none to nearly all.
    let tail = (mean as f64 * draws.unit()) as u64;
    NetworkProfile {
        delay_min_ns: mean - tail,
        delay_tail_ns: tail,
        variation: match draws.chance(0.5) {
            true => chance(draws, 1.0, 4.0),
            false => 1.0,
        },
        loss: swarm_rate(draws, menu.max_loss),
        duplication: swarm_rate(draws, menu.max_duplication),
        duplicate_within_ns: draws.magnitude(MS, menu.max_duplicate_ns.max(MS)),
        order: match draws.chance(0.6) {
            true => PacketOrder::Independent,
            false => PacketOrder::Sent,
        },
        bytes_per_second: draws
            .chance(0.15)
            .then(|| draws.magnitude(2_000_000, 1_000_000_000)),
    }
}

fn disk(draws: &mut Draws) -> DiskProfile {
    let sync = draws.magnitude(20 * US, 4 * MS);
    let tail = (sync as f64 * draws.unit()) as u64;
    DiskProfile {
        read_ns: draws.magnitude(US, 200 * US),
        write_ns: draws.magnitude(US, 20 * US),
        sync_min_ns: sync - tail,
        sync_tail_ns: tail,
        sector_ns: draws.magnitude(100, 5 * US),
        short_io: match draws.chance(0.25) {
            true => chance(draws, 0.001, 0.2),
            false => 0.0,
        },
        write_back: match draws.chance(0.5) {
            true => chance(draws, 0.01, 0.5),
            false => 0.0,
        },
        power_cut: power_cut(draws),
        ..DiskProfile::default()
    }
}

fn power_cut(draws: &mut Draws) -> PowerCutProfile {
    let mut weights = [0.0; 4];
    // Losing is always possible: the commonest thing a power cut does.
    let always = 1;
    for (place, weight) in weights.iter_mut().enumerate() {
        let drawn = chance(draws, 0.5, 4.0);
        if draws.chance(0.7) || place == always {
            *weight = drawn;
        }
    }
    let [keep, lose, tear, garbage] = weights;
    PowerCutProfile {
        lose_all: chance(draws, 0.1, 0.7),
        keep_all: chance(draws, 0.0, 0.1),
        keep,
        lose,
        tear,
        garbage,
        keep_length: chance(draws, 0.1, 0.9),
        keep_name: chance(draws, 0.1, 0.9),
        names_in_order: chance(draws, 0.0, 1.0),
    }
}

/// Mostly what quartz does; in other seeds anything that the menu allows.
fn drift_bound(draws: &mut Draws, menu: &Menu) -> u32 {
    let (usual, most) = (
        u64::from(menu.max_drift_ppm.clamp(1, 200)),
        u64::from(menu.max_drift_ppm),
    );
    let large = draws.magnitude(usual, most.max(usual)) as u32;
    let largest = draws.chance(0.5);
    match draws.chance(0.5) {
        true if largest => menu.max_drift_ppm,
        true => large.min(menu.max_drift_ppm),
        false => (usual as u32).min(menu.max_drift_ppm),
    }
}

fn clocks(draws: &mut Draws, menu: &Menu, bound: u32, nodes: u32) -> Vec<ClockProfile> {
    let (wrong, drifting) = (draws.chance(0.5), draws.chance(0.5));
    let extreme = draws.chance(0.3);
    let bound = i64::from(bound);
    (0..nodes)
        .map(|_| {
            let (sign, offset) = (draws.chance(0.5), draws.unit() * menu.max_step_ns as f64);
            let drift = draws.range(0, 2 * bound as u64 + 1) as i64 - bound;
            let offset = if sign { offset } else { -offset };
            ClockProfile {
                offset_ns: if wrong { offset as i64 } else { 0 },
                drift_ppm: match (drifting, extreme) {
                    (true, true) => (bound * drift.signum()) as i32,
                    (true, false) => drift as i32,
                    (false, _) => 0,
                },
            }
        })
        .collect()
}

/// A minority that stays unwell.
fn outcasts(draws: &mut Draws, menu: &Menu, nodes: u32) -> Vec<Outcast> {
    let most = u64::from(nodes.saturating_sub(1) / 2);
    let count = draws.range(0, most.max(1)) as usize + 1;
    if !draws.chance(menu.outcasts) || most == 0 {
        return Vec::new();
    }
    let mut order: Vec<u32> = (0..nodes).collect();
    draws.shuffle(&mut order);
    let (outcasts, core) = order.split_at(count);
    let mut outcasts: Vec<Outcast> = outcasts
        .iter()
        .map(|node| Outcast {
            node: *node,
            kind: match draws.range(0, 5) {
                0 => Affliction::Down,
                1 => Affliction::Deaf,
                2 => Affliction::Mute,
                // Of three nodes it would make a majority with the one that it reaches, and might well lead.
                3 if nodes > 3 => Affliction::Bridged { to: core[0] },
                _ => Affliction::CutOff,
            },
        })
        .collect();
    outcasts.sort_by_key(|outcast| outcast.node);
    outcasts
}

/// The recipes of one seed, each with its weight.
fn swarm(draws: &mut Draws, menu: &Menu) -> Vec<(Recipe, u64)> {
    // Some seeds cook nearly everything, some one thing only.
    let appetite = chance(draws, 0.15, 0.9);
    let mut chosen = Vec::new();
    for recipe in &menu.recipes {
        let weight = draws.range(1, 6);
        if draws.chance(appetite) {
            chosen.push((*recipe, weight));
        }
    }
    if chosen.is_empty() && !menu.recipes.is_empty() {
        chosen.push((*draws.pick(&menu.recipes), 1));
    }
    chosen
}

fn faults(seed: u64, shape: &mut Draws, menu: &Menu, drift: u32, nodes: u32) -> Vec<super::Fault> {
    let recipes = swarm(shape, menu);
    let total: u64 = recipes.iter().map(|(_, weight)| weight).sum();
    let (low, high) = menu.episodes;
    let count = shape.range(u64::from(low), u64::from(high) + 1);
    if total == 0 || count == 0 {
        return Vec::new();
    }
    let gap = menu.horizon_ns / (count + 1);
    let haste = chance(shape, 0.0, 0.5);
    let mut episodes = Episodes::new(menu, drift, nodes);
    let mut at = shape.range(menu.tempo_ns, 10 * menu.tempo_ns + 1);
    let mut number = 0;
    while at < menu.horizon_ns {
        let mut draws = Draws::new(seed, Domain::Plan, Part::Episode as u64 + number);
        let mut lot = draws.range(0, total);
        let (recipe, _) = recipes
            .iter()
            .find(|(_, weight)| match lot < *weight {
                true => true,
                false => {
                    lot -= weight;
                    false
                }
            })
            .expect("the lot is below the sum of weights");
        let end = episodes.cook(*recipe, at, &mut draws);
        // Either on the heels of what was just done, or after a while.
        at = match draws.chance(haste) {
            true => at + draws.magnitude(menu.tempo_ns / 10 + 1, 4 * menu.tempo_ns + 1),
            false => end.min(at + gap) + draws.exponential(gap),
        };
        number += 1;
    }
    episodes.finish()
}
