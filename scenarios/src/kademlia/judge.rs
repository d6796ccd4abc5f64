//! What is asked of lookups, of tables, and of the overlay as a whole.

use super::{World, choose::Chosen, liars::Lie};
use holdfast_kademlia::{Finished, Id, secure_id};
use holdfast_sim::check::Violation;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const MINUTE: u64 = 60 * SECOND;

/// Within this a lookup has ended, whatever its peers do: its budget of queries, a slot's time each.
pub const ENDS_WITHIN: u64 = 60 * SECOND;
/// The least time after which who is silent is asked once more, nanoseconds.
const LEAST_PATIENCE: u64 = 100 * MS;
/// Whoever is new in the overlay is not yet expected to be known.
const KNOWN_AFTER: u64 = 3 * MINUTE;
/// Bytes that a node may take beside its lookups and what it stores for others, which has limits of its own.
pub const NODE_BYTES: usize = 48 << 10;
/// Bytes that each path of a lookup may take: whom it lists, and its steps.
pub const PATH_BYTES: usize = 40 << 10;
/// Datagrams that a node sends in a second when it is asked nothing, on average.
pub const IDLE_RATE: f64 = 1.0;
/// Events that may wait for each node: wakes, stale ones, the end of its session.
const EVENTS_PER_NODE: usize = 10;
/// A bucket is refreshed after 15 minutes of silence; this much later somebody in it has answered.
const REFRESHED_WITHIN: u64 = 18 * MINUTE;
/// How unlikely it is that chance alone breaks a bound.
const UNLIKELY: f64 = 1e-7;

/// One lookup under way.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When it was begun.
    pub at: u64,
    /// The closest then, whoever looks left out.
    pub truth: Vec<(Id, u32)>,
    /// Who was there then is known to others.
    pub known_since: u64,
    /// Whoever looks has looked before, and knows some round trips.
    pub is_warm: bool,
}

/// Sums over lookups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Lookups that ended.
    pub ended: u64,
    /// Of these, that did not find the closest.
    pub missed: u64,
    /// Of the closest that there are, those found: sum of shares.
    pub recall: f64,
    /// Sum of hops to the closest.
    pub hops: u64,
    /// Lookups with more hops than 99 of 100 should have.
    pub long: u64,
    /// Lookups of nodes that had looked before.
    pub warm: u64,
    /// Time that these took, sum, nanoseconds.
    pub took: u64,
    /// Queries and answers, sum.
    pub messages: u64,
}

/// What a round must come up to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// The probability that a lookup misses the closest.
    pub miss: f64,
    /// The mean share of the closest that is found; 0: nothing is asked.
    pub recall: f64,
    /// The mean of the hops; nothing is asked without.
    pub hops: Option<f64>,
    /// The mean time of nodes that have looked before, nanoseconds; nothing is asked without.
    pub took: Option<u64>,
    /// The mean of queries and answers.
    pub messages: f64,
}

/// Hops on the way to the closest among so many nodes, on average, and what 99 of 100 lookups do not exceed.
///
/// The mean is that of an independent simulation of plain Kademlia with k = 8 and full tables: 2.28, 2.93, 3.61 and
/// 4.27 hops for 10^3 to 10^6 nodes, and up to a half more with dead contacts.
pub fn usual_hops(nodes: u32, dead_percent: u32, k: usize) -> (f64, u32) {
    let magnitude = (f64::from(nodes) / 1_000.0).log10();
    let mean = 2.28 + 0.66 * magnitude + 0.01 * f64::from(dead_percent);
    let longest = (f64::from(nodes) / k as f64).log2() / 3.0;
    (mean, longest.ceil() as u32 + 2)
}

/// The most events of probability `p` among `count` that chance explains.
pub fn allowed(count: u64, p: f64) -> u64 {
    if p <= 0.0 {
        return 0;
    }
    // Poisson: how likely so many or more are, by the terms of its series.
    let mean = count as f64 * p;
    let (mut term, mut below, mut most) = ((-mean).exp(), 0.0, 0);
    while 1.0 - below > UNLIKELY && most < count {
        below += term;
        most += 1;
        term *= mean / most as f64;
    }
    most.saturating_sub(1).max(u64::from(mean > 0.0))
}

impl Tally {
    /// Takes in one that has ended.
    pub fn add(
        &mut self,
        asked: &Asked,
        end: &Finished<SocketAddrV4>,
        world: &World,
        longest: u32,
    ) {
        let now = world.now();
        let is_expected = |(id, node): &&(Id, u32)| {
            let is_there = world.node(*node).is_some_and(|core| core.id() == *id);
            let began = world.watch().began_at(*node);
            is_there && (began <= asked.known_since || now - began >= KNOWN_AFTER)
        };
        let k = world.config().k;
        let expected: Vec<_> = asked.truth.iter().filter(is_expected).take(k).collect();
        let has = |id: Id| end.closest.iter().any(|contact| contact.id == id);
        // Sybils crowd out whoever is honest; that he was reached is what counts then.
        let reached = |id: Id| {
            let mut steps = end.steps.iter();
            steps.any(|step| step.contact.id == id && step.answered_after.is_some())
        };
        self.ended += 1;
        if let Some((closest, _)) = expected.first()
            && !has(*closest)
            && !reached(*closest)
        {
            self.missed += 1;
        }
        let found = expected.iter().filter(|(id, _)| has(*id)).count();
        self.recall += match expected.len() {
            0 => 1.0,
            count => found as f64 / count as f64,
        };
        self.hops += u64::from(end.hops);
        self.long += u64::from(end.hops > longest);
        self.messages += end.steps.len() as u64 + u64::from(end.replies);
        if asked.is_warm {
            self.warm += 1;
            self.took += end.found_after;
        }
    }

    /// Whether it comes up to what is expected.
    pub fn check(&self, expected: &Expected) -> Result<(), Violation> {
        if self.ended == 0 {
            return Ok(());
        }
        let count = self.ended as f64;
        let most = allowed(self.ended, expected.miss);
        if self.missed > most {
            let message = format!(
                "{} of {} lookups missed the closest node; at most {most} may",
                self.missed, self.ended
            );
            return Err(Violation::new("finds-closest", message));
        }
        // Of one lookup the share deviates by less than 0.2; of many, by less.
        let recall = self.recall / count;
        let least = expected.recall - 6.0 * 0.2 / count.sqrt();
        if expected.recall > 0.0 && recall < least {
            let message = format!("of the closest nodes {recall:.3} were found, not {least:.3}");
            return Err(Violation::new("recall", message));
        }
        if let Some(mean) = expected.hops {
            let hops = self.hops as f64 / count;
            let most = mean * 1.1 + 6.0 * 0.7 / count.sqrt();
            if hops > most {
                let message = format!("{hops:.2} hops on average, more than {most:.2}");
                return Err(Violation::new("hops", message));
            }
            let most = allowed(self.ended, 0.01);
            if self.long > most {
                let message = format!("{} of {} ways were long, not {most}", self.long, self.ended);
                return Err(Violation::new("hops", message));
            }
        }
        if let Some(mean) = expected.took
            && self.warm >= 10
            && self.took / self.warm > mean
        {
            let message = format!(
                "lookups took {} ms on average, more than {}",
                self.took / self.warm / MS,
                mean / MS
            );
            return Err(Violation::new("lookup-time", message));
        }
        let messages = self.messages as f64 / count;
        if messages > expected.messages {
            let message = format!(
                "{messages:.1} queries and answers a lookup, more than {:.1}",
                expected.messages
            );
            return Err(Violation::new("lookup-messages", message));
        }
        Ok(())
    }
}

/// What must hold of one lookup's end.
pub fn check_end(node: u32, end: &Finished<SocketAddrV4>, world: &World) -> Result<(), Violation> {
    let config = world.config();
    if end.steps.len() > config.lookup_queries {
        let message = format!("a lookup asked {} times", end.steps.len());
        return Err(Violation::new("lookup-budget", message).at(node));
    }
    if end.closest.len() > config.k {
        let message = format!("a lookup found {} nodes", end.closest.len());
        return Err(Violation::new("lookup-result", message).at(node));
    }
    let distances = end.closest.iter().map(|c| end.target.distance(c.id));
    if !distances.is_sorted() {
        let message = "what a lookup found is not in order".to_owned();
        return Err(Violation::new("lookup-result", message).at(node));
    }
    for contact in &end.closest {
        if !world
            .watch()
            .has_answered(node, contact.address, contact.id)
        {
            let message = format!(
                "a lookup found {} at {}, from where nobody has answered under that id",
                contact.id, contact.address
            );
            return Err(Violation::new("lookup-result", message).at(node));
        }
    }
    let mut asked: Vec<_> = end
        .steps
        .iter()
        .map(|step| {
            let has_answered = step.answered_after.is_some();
            (
                step.contact.address,
                step.contact.id,
                step.asked_after,
                has_answered,
            )
        })
        .collect();
    asked.sort_unstable();
    for asked in asked.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        // Who is silent is asked once more, and not at once.
        let is_patient = |two: &[(_, Id, u64, _)]| two[1].2 - two[0].2 >= LEAST_PATIENCE;
        if asked.len() > 2 || !asked.windows(2).all(is_patient) {
            let message = format!("a lookup asked {} {} times", asked[0].0, asked.len());
            return Err(Violation::new("lookup-result", message).at(node));
        }
    }
    for asked in asked.chunk_by(|a, b| a.0 == b.0) {
        // Another one there is asked when it has said itself that it is there, in place of who was meant.
        let ids: BTreeSet<Id> = asked.iter().map(|asked| asked.1).collect();
        let answered: BTreeSet<Id> = asked.iter().filter(|a| a.3).map(|a| a.1).collect();
        if ids.len() > 2 || answered.len() > 1 {
            let message = format!("a lookup asked {} of those at {}", ids.len(), asked[0].0);
            return Err(Violation::new("lookup-result", message).at(node));
        }
    }
    Ok(())
}

/// What must hold of every table at every time: of those that are chosen, and of what is inside only if `is_inside`.
pub fn check_tables(
    world: &World,
    is_chosen: impl Fn(u32) -> bool,
    is_inside: bool,
) -> Result<(), Violation> {
    if !is_inside {
        return Ok(());
    }
    for (node, core) in world.nodes().filter(|(node, _)| is_chosen(*node)) {
        check_table(node, world).map_err(|violation| violation.at(node))?;
        let stored = core.items().heap_bytes() + core.peers().heap_bytes();
        let bytes = core.bytes() - stored;
        let paths = core.lookups() * core.config().paths.max(1);
        if bytes > NODE_BYTES + paths * PATH_BYTES {
            let message = format!("a node with {} lookups takes {bytes} bytes", core.lookups());
            return Err(Violation::new("memory", message).at(node));
        }
        core.check();
    }
    let waiting = world.waiting() - world.under_way();
    let most = world.nodes().count() * EVENTS_PER_NODE + world.len() as usize;
    if waiting > most {
        let message = format!("{waiting} timers wait, more than {most}");
        return Err(Violation::new("timers", message));
    }
    Ok(())
}

/// What nodes store is what has been put at them: of those that are chosen.
pub fn check_stores(world: &World, is_chosen: impl Fn(u32) -> bool) -> Result<(), Violation> {
    let stores = &world.watch().stores;
    for (node, core) in world.nodes().filter(|(node, _)| is_chosen(*node)) {
        let checked = stores.check_all(world.now(), node, core);
        checked.map_err(|(property, message)| Violation::new(property, message).at(node))?;
    }
    Ok(())
}

fn check_table(node: u32, world: &World) -> Result<(), Violation> {
    let Some(core) = world.node(node) else {
        return Ok(());
    };
    let (own, table, config) = (core.id(), core.table(), core.config());
    let structure = |message: String| Err(Violation::new("structure", message));
    let last = table.depth();
    let mut counts = vec![0; last as usize + 1];
    let mut networks: Vec<(u32, u32)> = Vec::new();
    let mut addresses: Vec<SocketAddrV4> = Vec::new();
    let mut before = 0;
    for contact in table.contacts() {
        let depth = own.shared_bits(contact.id).min(last);
        if depth < before {
            return structure(format!("{} is in a bucket too late", contact.id));
        }
        before = depth;
        counts[depth as usize] += 1;
        if contact.id == own {
            return structure("a node is its own contact".into());
        }
        networks.push((depth, u32::from(*contact.address.ip()) >> 8));
        addresses.push(contact.address);
        if !world
            .watch()
            .has_answered(node, contact.address, contact.id)
        {
            let message = format!(
                "{} at {} is in a table, and has never answered",
                contact.id, contact.address
            );
            return Err(Violation::new("poisoning", message));
        }
        let ip = (*contact.address.ip()).into();
        if config.secure_ids && !secure_id::is_valid(contact.id, ip) {
            let message = format!("{} is not an id of {}", contact.id, contact.address);
            return Err(Violation::new("poisoning", message));
        }
    }
    for (depth, count) in counts.into_iter().enumerate() {
        let room = match (config.wide_buckets, depth) {
            (true, 0..4) => config.k << (4 - depth),
            (false, 0..2) => config.k * 2,
            _ => config.k,
        };
        if count > room {
            return structure(format!("bucket {depth} has {count} contacts"));
        }
    }
    addresses.sort_unstable();
    if addresses.windows(2).any(|two| two[0] == two[1]) {
        return structure("two contacts at one address".into());
    }
    networks.sort_unstable();
    let mut crowds = networks.chunk_by(|a, b| a == b);
    if crowds.any(|crowd| crowd.len() > config.per_network) {
        return structure("a bucket has too many contacts of one network".into());
    }
    Ok(())
}

/// How many buckets each node has but for the last: when, and the nodes that there are.
#[derive(Clone, Debug)]
pub struct Depths(u64, BTreeMap<u32, u32>);

impl Depths {
    /// As they are now.
    pub fn of(world: &World) -> Self {
        let nodes = world
            .nodes()
            .map(|(node, core)| (node, core.table().depth()));
        Depths(world.now(), nodes.collect())
    }
}

/// Every bucket in whose range somebody lives has heard of somebody lately: of those that there were already `then`.
/// One that was split off since is as fresh as the one that it was part of.
pub fn check_refreshed(then: &Depths, world: &World) -> Result<(), Violation> {
    let now = world.now();
    assert!(now - then.0 >= REFRESHED_WITHIN, "there was time for it");
    for (node, core) in world.nodes() {
        let Some(depth) = then.1.get(&node) else {
            continue;
        };
        let own = core.id();
        if now - world.watch().began_at(node) < REFRESHED_WITHIN {
            continue;
        }
        for depth in 0..*depth {
            let heard = world.watch().heard(node, depth);
            if heard.saturating_add(REFRESHED_WITHIN) >= now {
                continue;
            }
            let mut lives = world.census().entries().iter();
            let is_there = |(id, other): &(Id, u32)| {
                let age = now - world.watch().began_at(*other);
                own.shared_bits(*id) == depth && age >= REFRESHED_WITHIN + KNOWN_AFTER
            };
            if lives.any(is_there) {
                let minutes = (now - heard) / MINUTE;
                let message =
                    format!("nobody of bucket {depth} was heard of for {minutes} minutes");
                return Err(Violation::new("refresh", message).at(node));
            }
        }
    }
    Ok(())
}

/// Who lives and answers keeps its place.
pub fn check_kept(
    before: &[(u32, Vec<(Id, SocketAddrV4)>)],
    world: &World,
) -> Result<(), Violation> {
    for (node, contacts) in before {
        let Some(core) = world.node(*node) else {
            continue;
        };
        for (id, address) in contacts {
            let is_there = world.addresses().index(*address).is_some_and(|other| {
                let core = world.node(other);
                core.is_some_and(|core| core.id() == *id) && !world.is_adversary(other)
            });
            let mut kept = core.table().contacts();
            if is_there && !kept.any(|contact| contact.id == *id && contact.address == *address) {
                let message = format!("{id} at {address} lives, and has lost its place");
                return Err(Violation::new("long-lived-stay", message).at(*node));
            }
        }
    }
    Ok(())
}

/// All contacts of all tables.
pub fn contacts(world: &World) -> Vec<(u32, Vec<(Id, SocketAddrV4)>)> {
    let tables = world.nodes().map(|(node, core)| {
        let contacts = core.table().contacts();
        (node, contacts.map(|c| (c.id, c.address)).collect())
    });
    tables.collect()
}

/// How likely it is that a query or its answer is lost; neither is sent again.
fn unheard(chosen: &Chosen) -> f64 {
    2.2 * chosen.links.loss
}

/// What plain lookups must come up to, with so many percent of all contacts dead.
pub fn expected(chosen: &Chosen, dead_percent: u32) -> Expected {
    let (hops, _) = usual_hops(chosen.nodes, dead_percent, chosen.config.k);
    let dead = f64::from(dead_percent) / 100.0;
    // Paths walk beside each other, and share no node.
    let paths = chosen.config.paths as f64;
    let is_plain = chosen.config.paths == 1 && chosen.network_bits == 0;
    Expected {
        miss: match dead_percent {
            0 => 0.0005,
            1..=20 => 0.002,
            _ => 0.008,
        } + unheard(chosen),
        recall: match dead_percent {
            0 => 1.0,
            1..=20 => 0.96,
            _ => 0.84,
        } - unheard(chosen),
        hops: is_plain.then_some(hops),
        took: Some(((1_200.0 + 4_000.0 * (dead + unheard(chosen))) * MS as f64) as u64),
        messages: (34.0 + 40.0 * dead + 8.0 * (chosen.config.alpha as f64 - 3.0)) * paths,
    }
}

/// The same while nodes die, come back or are not heard: so many percent of the contacts may not answer, and the tables
/// are behind.
pub fn while_changing(chosen: &Chosen, percent: u32) -> Expected {
    let plain = expected(chosen, percent);
    Expected {
        miss: 0.02 + unheard(chosen) + 0.0005 * f64::from(percent),
        recall: plain.recall.min(0.9) - 0.1,
        hops: None,
        took: plain.took.map(|took| took * 3 / 2),
        messages: plain.messages * 1.5,
    }
}

/// The same with so many percent of liars.
///
/// Only Sybils close to the target keep who walks alone from the closest honest node: the k closest that answer are
/// theirs, and nothing that can be seen is wrong. Who walks on several paths meets it on one of them.
pub fn among_liars(chosen: &Chosen, percent: u32, lies: &[Lie]) -> Expected {
    let plain = expected(chosen, percent);
    let misled = match (lies.contains(&Lie::Sybil), chosen.config.paths) {
        (true, 1) => 0.015 * f64::from(percent),
        (true, _) => 0.05,
        // To find out that nobody is where a liar says takes queries, of which a lookup has so many and no more.
        _ if lies.contains(&Lie::Bogus) => 0.02 + 0.004 * f64::from(percent),
        _ => 0.02,
    };
    Expected {
        miss: misled + unheard(chosen),
        recall: 0.0,
        hops: None,
        took: None,
        messages: plain.messages * 4.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally {
            ended: 50,
            recall: 50.0,
            hops: 100,
            warm: 40,
            took: 40 * 500 * MS,
            messages: 50 * 20,
            ..Tally::default()
        }
    }

    fn broken(tally: &Tally) -> Option<&'static str> {
        let expected = Expected {
            miss: 0.002,
            recall: 0.96,
            hops: Some(2.0),
            took: Some(1_000 * MS),
            messages: 30.0,
        };
        tally
            .check(&expected)
            .err()
            .map(|violation| violation.property)
    }

    #[test]
    fn each_sum_that_is_off_is_seen() {
        assert_eq!(broken(&tally()), None);
        assert_eq!(broken(&Tally::default()), None, "nothing was asked");
        let off = |change: fn(&mut Tally)| {
            let mut tally = tally();
            change(&mut tally);
            broken(&tally)
        };
        assert_eq!(off(|t| t.missed = 8), Some("finds-closest"));
        assert_eq!(off(|t| t.recall = 35.0), Some("recall"));
        assert_eq!(off(|t| t.hops = 150), Some("hops"));
        assert_eq!(off(|t| t.long = 12), Some("hops"));
        assert_eq!(off(|t| t.took = 40 * 1_001 * MS), Some("lookup-time"));
        assert_eq!(off(|t| t.messages = 50 * 31), Some("lookup-messages"));
    }

    #[test]
    fn chance_is_given_what_it_is_due_and_no_more() {
        assert_eq!(allowed(1_000, 0.0), 0);
        assert_eq!(allowed(0, 0.5), 0);
        // The Poisson distribution of mean 5 exceeds 19 once in some ten million times.
        assert!(
            (17..=20).contains(&allowed(1_000, 0.005)),
            "{}",
            allowed(1_000, 0.005)
        );
        assert!(allowed(50, 0.002) <= 4);
    }

    #[test]
    fn hops_are_those_of_the_reference() {
        for (nodes, mean, p99) in [(1_000, 2.28, 5), (10_000, 2.93, 6), (1_000_000, 4.27, 8)] {
            let (usual, longest) = usual_hops(nodes, 0, 8);
            assert!((usual - mean).abs() < 0.05, "{nodes}: {usual}");
            assert_eq!(longest, p99);
        }
    }
}
