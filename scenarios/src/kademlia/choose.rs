//! What a seed means: how many nodes, how they are set, and what befalls them.

use super::liars::Lie;
use holdfast_kademlia::{Config, Mutant, items::ItemLimits, peers::PeerLimits};
use holdfast_sim::{
    draw::{Domain, Draws},
    overlay::{Ids, Links},
};

const MS: u64 = 1_000_000;
const MINUTE: u64 = 60_000 * MS;

/// What befalls an overlay.
#[derive(Clone, Debug, PartialEq)]
pub enum Trial {
    /// So many percent of all nodes are dead, and in everybody's tables.
    Dead(u32),
    /// Nodes come and go, with sessions of this median, minutes.
    Churn(u64),
    /// So many percent of all nodes die at once.
    MassDeath(u32),
    /// Two halves cannot reach each other for so many minutes.
    Halves(u64),
    /// A few nodes can reach nobody for so many minutes.
    Alone(u64),
    /// So many percent of all nodes are not heard any more, for some minutes.
    Mute(u32),
    /// So many percent of all nodes die, and are back soon, under other ids and knowing nobody.
    Comeback(u32),
    /// So many percent of all nodes lie.
    Liars(u32, Vec<Lie>),
    /// Nobody asks anything for a while.
    Idle,
    /// Things are put and looked for, while something befalls who stores them.
    Stores(Stores),
}

/// What befalls those who store things.
#[derive(Clone, Debug, PartialEq)]
pub enum Stores {
    /// So many percent of all nodes are dead before anything is put, and in everybody's tables.
    Dead(u32),
    /// So many percent of all nodes die when things have been put.
    MassDeath(u32),
    /// Nodes come and go, with sessions of an hour, and all is put again after an hour.
    Churn,
    /// Two halves cannot reach each other for so many minutes, and people write in both.
    Halves(u64),
    /// So many percent of all nodes lie.
    Liars(u32, Vec<Lie>),
}

impl Trial {
    /// So many percent of all nodes lie, and how.
    pub fn liars(&self) -> Option<(u32, &[Lie])> {
        match self {
            Trial::Liars(percent, lies) | Trial::Stores(Stores::Liars(percent, lies)) => {
                Some((*percent, lies))
            }
            _ => None,
        }
    }

    /// Its name in records.
    pub fn name(&self) -> &'static str {
        match self {
            Trial::Dead(0) => "none",
            Trial::Dead(_) => "dead-contacts",
            Trial::Churn(_) => "churn",
            Trial::MassDeath(_) => "mass-death",
            Trial::Halves(_) => "two-halves",
            Trial::Alone(_) => "few-cut-off",
            Trial::Mute(_) => "mute-nodes",
            Trial::Comeback(_) => "back-under-another-id",
            Trial::Liars(..) => "liars",
            Trial::Idle => "idle",
            Trial::Stores(Stores::Dead(0)) => "stores",
            Trial::Stores(Stores::Dead(_)) => "stores-dead-contacts",
            Trial::Stores(Stores::MassDeath(_)) => "stores-mass-death",
            Trial::Stores(Stores::Churn) => "stores-churn",
            Trial::Stores(Stores::Halves(_)) => "stores-two-halves",
            Trial::Stores(Stores::Liars(..)) => "stores-liars",
        }
    }
}

/// All that a seed decides.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Nodes in the beginning.
    pub nodes: u32,
    /// Whether they grow together by joining; otherwise their tables are filled by who knows all.
    pub is_grown: bool,
    /// How they are set.
    pub config: Config,
    /// How datagrams travel.
    pub links: Links,
    /// How ids come about.
    pub ids: Ids,
    /// 2^this many nodes share a network.
    pub network_bits: u32,
    /// What befalls them.
    pub trial: Trial,
    /// Lookups of a round.
    pub lookups: u32,
}

/// What `seed` means.
pub fn choose(seed: u64, mutant: Option<Mutant>) -> Chosen {
    let mut draws = Draws::new(seed, Domain::Scenario, 0);
    let trial = trial(&mut draws);
    let most = match trial {
        Trial::Dead(_) | Trial::Liars(..) => 2_000,
        Trial::MassDeath(_) | Trial::Mute(_) | Trial::Comeback(_) => 800,
        Trial::Churn(_) | Trial::Halves(_) | Trial::Alone(_) | Trial::Idle => 300,
        Trial::Stores(Stores::Churn | Stores::Halves(_)) => 250,
        Trial::Stores(_) => 600,
    };
    let is_grown = draws.chance(0.25);
    let nodes = draws.magnitude(200, if is_grown { 250 } else { most }) as u32;
    let is_secure = draws.chance(0.3);
    // Not both: a first bucket of 128 with two of a network has no reason to be split where networks are few, and then
    // nobody knows his neighbours.
    let is_wide = draws.chance(0.2);
    let paths = *draws.pick(&[1, 1, 1, 2, 4]);
    let mut items = ItemLimits::default();
    let mut peers = PeerLimits::default();
    // What nobody puts again is gone before the end.
    if draws.chance(0.3) && trial != Trial::Stores(Stores::Churn) {
        items.lifetime = draws.range(4, 12) * MINUTE;
        peers.lifetime = draws.range(2, 8) * MINUTE;
    }
    Chosen {
        nodes,
        is_grown,
        config: Config {
            alpha: *draws.pick(&[3, 3, 3, 4, 8]),
            paths,
            wide_buckets: is_wide,
            secure_ids: is_secure,
            version: draws.chance(0.5).then_some(*b"HF\0\x01"),
            mutant,
            items,
            peers,
            ..Config::default()
        },
        links: Links {
            jitter_ns: match draws.chance(0.5) {
                true => draws.magnitude(MS, 50 * MS),
                false => 0,
            },
            loss: match draws.chance(0.3) {
                true => draws.unit() * 0.05,
                false => 0.0,
            },
            ..Links::default()
        },
        ids: if is_secure { Ids::Secure } else { Ids::Random },
        network_bits: match draws.chance(0.2) && !is_wide {
            true => draws.range(1, 4) as u32,
            false => 0,
        },
        trial,
        lookups: draws.range(30, 60) as u32,
    }
}

fn trial(draws: &mut Draws) -> Trial {
    match draws.range(0, 118) {
        0..10 => Trial::Dead(0),
        10..18 => Trial::Dead(20),
        18..30 => Trial::Dead(50),
        30..42 => Trial::Churn(*draws.pick(&[20, 60, 60])),
        42..50 => Trial::MassDeath(draws.range(20, 71) as u32),
        50..58 => Trial::Halves(draws.range(3, 40)),
        58..66 => Trial::Alone(draws.range(20, 45)),
        66..70 => Trial::Mute(draws.range(5, 31) as u32),
        70..76 => Trial::Comeback(draws.range(10, 41) as u32),
        76..94 => {
            let percent = draws.range(5, 26) as u32;
            Trial::Liars(percent, lies(draws))
        }
        94..100 => Trial::Idle,
        _ => Trial::Stores(stores(draws)),
    }
}

fn stores(draws: &mut Draws) -> Stores {
    match draws.range(0, 13) {
        0..3 => Stores::Dead(0),
        3..5 => Stores::Dead(*draws.pick(&[20, 50])),
        5..7 => Stores::MassDeath(draws.range(20, 71) as u32),
        7 | 8 => Stores::Churn,
        9 => Stores::Halves(draws.range(2, 8)),
        _ => {
            let percent = draws.range(5, 26) as u32;
            let mut lies = lies(draws);
            if !lies.contains(&Lie::Poison) && draws.chance(0.6) {
                lies.push(Lie::Poison);
            }
            Stores::Liars(percent, lies)
        }
    }
}

fn lies(draws: &mut Draws) -> Vec<Lie> {
    let first = *draws.pick(&Lie::ALL);
    let mut lies = vec![first];
    if draws.chance(0.4) {
        let second = *draws.pick(&Lie::ALL);
        lies.extend((second != first).then_some(second));
    }
    lies
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_trial_and_lie_is_drawn_and_within_bounds() {
        let mut trials = BTreeSet::new();
        let mut lies = BTreeSet::new();
        for seed in 0..500 {
            let chosen = choose(seed, None);
            assert!((200..=2_000).contains(&chosen.nodes));
            trials.insert(chosen.trial.name());
            if let Some((percent, told)) = chosen.trial.liars() {
                assert!((5..=25).contains(&percent));
                lies.extend(told.to_vec());
            }
        }
        assert_eq!((trials.len(), lies.len()), (16, Lie::ALL.len()));
    }
}
