//! What people do with the DHT: they put items and change them, several of them at once, announce torrents, and look for
//! all of it; and what must come of that.
//!
//! - *never-put*: nothing is found that nobody put, and no peer that nobody announced;
//! - *finds-stored*, *finds-peers*: what one of the closest nodes has is found, the newest of what they have: always
//!   where nobody is dead, nothing is lost and two have it; else but for one time in a thousand, and but for as often as a
//!   lookup misses all who have it;
//! - *put-stores*: the closest nodes are asked to store what is put; where nobody is dead and nothing is lost, all of them
//!   store an item that cannot change;
//! - *refusals*: nobody refuses but for a reason: 301 and 302, where several write.
//!
//! Who has what is known from the registers that are modelled by what has reached each node. What callers may expect
//! who know nothing of nodes is held against their own histories ([`super::history`]).

use super::{
    World,
    history::{Demand, Histories, LASTS, Misses},
    judge::{self, ENDS_WITHIN, Expected},
    probe::{Foreign, value},
};
use holdfast_kademlia::{
    Event, Finished, Id, LookupId, PutRequest, Request, SignedPut,
    bencode::Raw,
    item::{self, SecretKey},
    krpc::SIGNATURE_LEN,
};
use holdfast_sim::{
    check::Violation,
    draw::{Domain, Draws},
    overlay::{BEGIN, Chance, Ended},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{SocketAddr, SocketAddrV4},
    num::NonZeroU16,
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// Whoever is new in the overlay is not yet expected to be known.
const KNOWN_AFTER: u64 = 180 * SECOND;
/// Keys, and items that can change of each.
const KEYS: usize = 3;
const SALTS: [&[u8]; 3] = [b"", b"a", b"salt of some length"];
/// Torrents that are announced.
const TORRENTS: u32 = 4;
/// Values of the items that cannot change are these and beyond.
const FIRST_VALUE: u64 = 1_000;

/// An item that can change.
#[derive(Debug)]
struct Writing {
    key: usize,
    salt: &'static [u8],
    /// The highest sequence number that was signed; 0: none.
    sequence: i64,
    last: Option<PutRequest>,
}

/// What a lookup under way is for.
#[derive(Debug)]
struct Task {
    at: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Put {
        /// Which of the puts under its target.
        place: usize,
        is_mutable: bool,
        has_cas: bool,
    },
    Announce {
        info_hash: Id,
    },
    Get {
        target: Id,
        /// The newest of what the closest nodes have, and who has it.
        best: Option<i64>,
        holders: Vec<u32>,
        /// What must be found after the puts that had ended when it began.
        demand: Option<Demand>,
        /// What was found.
        found: Option<Option<i64>>,
    },
    Peers {
        info_hash: Id,
        /// Each peer that one of the closest nodes knows, and who does.
        wanted: Vec<(SocketAddrV4, Vec<u32>)>,
        told: BTreeSet<SocketAddrV4>,
    },
    Sample,
}

/// What is done in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Mostly written.
    Write,
    /// Mostly read.
    Read,
}

/// Things that were looked for, and missed.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    wanted: u64,
    missed: u64,
    /// How many may be missed on average.
    expected: f64,
}

impl Tally {
    /// Takes in one, which may be missed with this probability.
    fn add(&mut self, miss: f64, is_found: bool) {
        self.wanted += 1;
        self.expected += miss;
        self.missed += u64::from(!is_found);
    }

    fn check(&self, property: &'static str) -> Result<(), Violation> {
        if self.wanted == 0 {
            return Ok(());
        }
        let most = judge::allowed(self.wanted, self.expected / self.wanted as f64);
        if self.missed > most {
            let message = format!(
                "{} of {} missed; at most {most} may be",
                self.missed, self.wanted
            );
            return Err(Violation::new(property, message));
        }
        Ok(())
    }
}

/// All who put and look for things, and what they know.
pub struct Storage {
    keys: Vec<SecretKey>,
    writings: Vec<Writing>,
    /// Items that cannot change.
    values: Vec<(Id, PutRequest)>,
    torrents: Vec<Id>,
    pub histories: Histories,
    announced: BTreeSet<(Id, SocketAddrV4)>,
    tasks: BTreeMap<(u32, LookupId), Task>,
    items: Tally,
    peers: Tally,
    reads: Tally,
    /// How often lookups miss what is there. `None`: nothing is asked.
    misses: Option<Misses>,
    /// All live, nothing is lost.
    pub is_calm: bool,
    /// Lookups that ended.
    pub ended: u64,
    /// Items and peers that were found.
    pub found: (u64, u64),
    /// Gets that found what was put before they began, or something newer.
    pub read: u64,
}

impl Storage {
    /// Nobody has put anything yet at nodes that keep items for `lifetime`, nanoseconds.
    pub fn new(seed: u64, lifetime: u64) -> Self {
        let mut draws = Draws::new(seed, Domain::Workload, 0);
        let keys = (0..KEYS).map(|_| {
            let mut secret = [0; 32];
            let words = secret.chunks_exact_mut(8);
            words.for_each(|word| word.copy_from_slice(&draws.bits().to_be_bytes()));
            SecretKey::from_seed(&secret)
        });
        let keys: Vec<_> = keys.collect();
        let writings = (0..KEYS).flat_map(|key| SALTS.map(|salt| (key, salt)));
        let writings = writings.map(|(key, salt)| Writing {
            key,
            salt,
            sequence: 0,
            last: None,
        });
        let torrent = |n| Id::random(&mut Chance::new(seed ^ 1, u32::MAX, n));
        Storage {
            keys,
            writings: writings.collect(),
            values: Vec::new(),
            torrents: (0..TORRENTS).map(torrent).collect(),
            histories: Histories::new(lifetime),
            announced: BTreeSet::new(),
            tasks: BTreeMap::new(),
            items: Tally::default(),
            peers: Tally::default(),
            reads: Tally::default(),
            misses: None,
            is_calm: false,
            ended: 0,
            found: (0, 0),
            read: 0,
        }
    }

    /// From now on lookups come up to this. Where nobody lies, `floor` is how many miss all who have what they look for,
    /// but by missing each of them.
    pub fn expect(&mut self, expected: Option<Expected>, floor: f64) {
        let (has_liars, is_calm) = (self.histories.has_liars, self.is_calm);
        self.misses = expected.map(|e| Misses::of(&e, floor, has_liars, is_calm));
    }

    /// Does one thing.
    pub fn act(&mut self, world: &mut World, draws: &mut Draws, mix: Mix) {
        let writes = match mix {
            Mix::Write => 0.8,
            Mix::Read => 0.15,
        };
        match (draws.chance(writes), draws.range(0, 10)) {
            (true, 0..3) => self.put_value(world, draws),
            (true, 3..7) => self.write(world, draws),
            (true, _) => self.announce(world, draws),
            (false, 0..3) => self.get_value(world, draws),
            (false, 3..7) => self.read(world, draws),
            (false, 7..9) => self.find_peers(world, draws),
            (false, _) => {
                let target = self.torrents[draws.range(0, TORRENTS.into()) as usize];
                self.begin(world, None, Request::Sample { target }, What::Sample);
            }
        }
    }

    fn begin(&mut self, world: &mut World, node: Option<u32>, request: Request, what: What) {
        let Some(node) = node.or_else(|| world.any()) else {
            return;
        };
        let at = world.now();
        if let Some(Ok(lookup)) = world.look_up(node, request) {
            self.tasks.insert((node, lookup), Task { at, what });
        }
    }

    fn put(&mut self, world: &mut World, request: PutRequest) {
        let has_cas = request.mutable.as_ref().is_some_and(|m| m.cas.is_some());
        let is_mutable = request.mutable.is_some();
        let Ok(target) = Request::Put(request.clone()).target() else {
            return;
        };
        let what = What::Put {
            place: self.histories.put(world.now(), target, &request),
            is_mutable,
            has_cas,
        };
        if let Some(signed) = &request.mutable {
            world.adversary_mut().probes.learn(Foreign {
                key: signed.key,
                salt: signed.salt.clone(),
                sequence: signed.sequence,
                value: request.value.clone(),
                signature: signed.signature,
            });
        }
        self.begin(world, None, Request::Put(request), what);
    }

    fn put_value(&mut self, world: &mut World, draws: &mut Draws) {
        let request = PutRequest {
            value: value(FIRST_VALUE + draws.range(0, 1 << 30)),
            mutable: None,
        };
        if let Ok(target) = Request::Put(request.clone()).target() {
            self.values.push((target, request.clone()));
            self.put(world, request);
        }
    }

    /// Somebody changes an item, or tries to: with the next number, with the last one, with a number that is long past;
    /// and sometimes two at once.
    fn write(&mut self, world: &mut World, draws: &mut Draws) {
        let place = draws.range(0, self.writings.len() as u64) as usize;
        let last = self.writings[place].sequence;
        let sequence = match draws.range(0, 10) {
            0 if last > 1 => last - 1,
            1 if last > 0 => last,
            2 => last + 3,
            _ => last + 1,
        };
        let cas = match draws.range(0, 10) {
            0..3 => Some(last),
            3 => Some((last - 1).max(0)),
            4 => Some(last + 1),
            _ => None,
        };
        let writers = if draws.chance(0.25) { 2 } else { 1 };
        for _ in 0..writers {
            let value = value(FIRST_VALUE + draws.range(0, 1 << 30));
            let request = self.sign(place, sequence, value, cas);
            if sequence > last {
                self.writings[place].sequence = sequence;
                self.writings[place].last = Some(request.clone());
            }
            self.put(world, request);
        }
    }

    fn sign(&self, place: usize, sequence: i64, value: Vec<u8>, cas: Option<i64>) -> PutRequest {
        let writing = &self.writings[place];
        let key = &self.keys[writing.key];
        let raw = Raw::parse(&value).expect("values are well-formed");
        let signature = key.sign(writing.salt, sequence, raw);
        let mutable = SignedPut {
            key: *key.public(),
            salt: writing.salt.to_vec(),
            sequence,
            signature: signature.expect("values are short enough"),
            cas,
        };
        PutRequest {
            value,
            mutable: Some(mutable),
        }
    }

    /// How many items there are to be put again.
    pub fn len(&self) -> usize {
        self.values.len() + self.writings.len()
    }

    /// Puts an item again as it was put last, as whoever wants it kept does every hour.
    pub fn put_again(&mut self, world: &mut World, place: usize) {
        let again = match place.checked_sub(self.values.len()) {
            None => Some(self.values[place].1.clone()),
            Some(place) => self.writings[place].last.clone(),
        };
        let Some(mut request) = again else { return };
        if let Some(signed) = &mut request.mutable {
            signed.cas = None;
        }
        self.put(world, request);
    }

    fn announce(&mut self, world: &mut World, draws: &mut Draws) {
        let info_hash = self.torrents[draws.range(0, TORRENTS.into()) as usize];
        let port = match draws.chance(0.5) {
            true => NonZeroU16::new(draws.range(1, 65_536) as u16),
            false => None,
        };
        let Some(node) = world.any() else { return };
        let source = world.addresses().address(node);
        let at = port.map_or(source.port(), NonZeroU16::get);
        self.announced
            .insert((info_hash, SocketAddrV4::new(*source.ip(), at)));
        let request = Request::Announce {
            info_hash,
            port,
            is_seed: draws.chance(0.3),
        };
        self.begin(world, Some(node), request, What::Announce { info_hash });
    }

    fn get_value(&mut self, world: &mut World, draws: &mut Draws) {
        let count = self.values.len() as u64;
        if count > 0 {
            let (target, _) = self.values[draws.range(0, count) as usize];
            self.get(world, target, b"", false);
        }
    }

    fn read(&mut self, world: &mut World, draws: &mut Draws) {
        let place = draws.range(0, self.writings.len() as u64) as usize;
        let writing = &self.writings[place];
        let (key, salt) = (self.keys[writing.key].public(), writing.salt);
        self.get(world, item::mutable_target(key, salt), salt, true);
    }

    /// The closest nodes to a target that others can be expected to know.
    fn closest(world: &World, target: Id, asker: u32) -> Vec<u32> {
        let now = world.now();
        let is_known = |node: &u32| {
            let began = world.watch().began_at(*node);
            began <= BEGIN || now - began >= KNOWN_AFTER
        };
        let closest = world
            .census()
            .closest(target, world.config().k, Some(asker));
        let closest = closest.into_iter().map(|(_, node)| node);
        closest.filter(is_known).collect()
    }

    fn get(&mut self, world: &mut World, target: Id, salt: &[u8], is_mutable: bool) {
        let Some(node) = world.any() else { return };
        let at = world.now() + LASTS;
        let stores = &world.watch().stores;
        let closest = Self::closest(world, target, node).into_iter();
        let held = closest.filter_map(|other| {
            let version = stores.item(at, other, target)?;
            Some((other, version.sequence))
        });
        let held: Vec<_> = held.collect();
        let best = held.iter().map(|(_, sequence)| *sequence).max().flatten();
        let holders = held.into_iter().filter(|(_, sequence)| *sequence == best);
        let what = What::Get {
            target,
            best,
            holders: holders.map(|(other, _)| other).collect(),
            demand: self.histories.demand(world.now(), target),
            found: None,
        };
        let request = Request::Get {
            target,
            salt: salt.to_vec(),
            is_mutable,
        };
        self.begin(world, Some(node), request, what);
    }

    fn find_peers(&mut self, world: &mut World, draws: &mut Draws) {
        let info_hash = self.torrents[draws.range(0, TORRENTS.into()) as usize];
        let Some(node) = world.any() else { return };
        let at = world.now() + LASTS;
        let mut wanted: BTreeMap<SocketAddrV4, Vec<u32>> = BTreeMap::new();
        for other in Self::closest(world, info_hash, node) {
            for peer in world.watch().stores.peers(at, other, info_hash) {
                wanted.entry(peer).or_default().push(other);
            }
        }
        let what = What::Peers {
            info_hash,
            wanted: wanted.into_iter().collect(),
            told: BTreeSet::new(),
        };
        let request = Request::GetPeers {
            info_hash,
            no_seeds: false,
        };
        self.begin(world, Some(node), request, what);
    }

    /// Takes in what a node said, if it is about a lookup of these.
    pub fn hear(&mut self, told: &Ended, world: &World) -> Result<(), Violation> {
        let heard = match &told.event {
            Event::Item {
                lookup,
                value,
                version,
            } => self.hear_item(told.at, (told.node, *lookup), value, *version),
            Event::Peers { lookup, peers } => self.hear_peers((told.node, *lookup), peers),
            Event::Finished(end) => match self.tasks.remove(&(told.node, end.lookup)) {
                Some(task) => {
                    self.ended += 1;
                    self.end(task, end, told, world)
                }
                None => Ok(()),
            },
            Event::Samples { .. } | Event::SeenAt(_) => Ok(()),
        };
        heard.map_err(|violation| violation.at(told.node).when(told.at))
    }

    fn hear_item(
        &mut self,
        at: u64,
        of: (u32, LookupId),
        value: &[u8],
        version: Option<(i64, [u8; SIGNATURE_LEN])>,
    ) -> Result<(), Violation> {
        let Some(Task {
            what: What::Get { target, found, .. },
            ..
        }) = self.tasks.get_mut(&of)
        else {
            return Ok(());
        };
        self.histories.told(at, *target, value, version)?;
        let sequence = version.map(|(sequence, _)| sequence);
        if found.is_some_and(|before| before >= sequence) {
            let message = format!("{target} is told at {sequence:?} after {found:?}");
            return Err(Violation::new("never-put", message));
        }
        *found = Some(sequence);
        self.found.0 += 1;
        Ok(())
    }

    fn hear_peers(&mut self, of: (u32, LookupId), peers: &[SocketAddr]) -> Result<(), Violation> {
        let Some(task) = self.tasks.get_mut(&of) else {
            return Ok(());
        };
        let (info_hash, mut told) = match &mut task.what {
            What::Peers {
                info_hash, told, ..
            } => (*info_hash, Some(told)),
            What::Announce { info_hash } => (*info_hash, None),
            _ => return Ok(()),
        };
        for peer in peers {
            let is_announced = match peer {
                SocketAddr::V4(peer) => self.announced.contains(&(info_hash, *peer)),
                SocketAddr::V6(_) => false,
            };
            // A liar may name anybody, but nobody at port 0.
            if peer.port() == 0 || !(is_announced || self.histories.has_liars) {
                let message = format!("{peer} is told for {info_hash}, and was not announced");
                return Err(Violation::new("never-put", message));
            }
            if let (Some(told), SocketAddr::V4(peer)) = (&mut told, peer) {
                told.insert(*peer);
                self.found.1 += 1;
            }
        }
        Ok(())
    }

    fn end(
        &mut self,
        task: Task,
        end: &Finished<SocketAddrV4>,
        told: &Ended,
        world: &World,
    ) -> Result<(), Violation> {
        judge::check_end(told.node, end, world)?;
        let lives = |other: &&u32| {
            world.node(**other).is_some() && world.watch().began_at(**other) <= task.at
        };
        let misses = self.misses;
        match task.what {
            What::Put {
                place,
                is_mutable,
                has_cas,
            } => {
                self.check_put(end, is_mutable, has_cas)?;
                self.histories.put_ended(told.at, place, end, world)
            }
            What::Announce { .. } => {
                self.check_refusals(end, &[])?;
                self.check_asked(end)
            }
            What::Get {
                target,
                best,
                holders,
                demand,
                found,
            } => {
                let holders = holders.iter().filter(lives).count();
                if let Some(misses) = misses.filter(|_| holders > 0) {
                    let is_found = found.is_some_and(|found| found >= best);
                    self.items.add(misses.all(holders, 1.0), is_found);
                }
                if let (Some(misses), Some(demand)) = (misses, demand)
                    && let Some(miss) = self
                        .histories
                        .miss(target, &demand, told.node, world, &misses)
                {
                    let is_met = demand.is_met(found);
                    self.reads.add(miss, is_met);
                    self.read += u64::from(is_met);
                }
                Ok(())
            }
            What::Peers { wanted, told, .. } => {
                for (peer, holders) in wanted {
                    let holders = holders.iter().filter(lives).count();
                    if let Some(misses) = misses.filter(|_| holders > 0) {
                        let is_found = told.contains(&peer);
                        self.peers.add(misses.all(holders, 1.0), is_found);
                    }
                }
                Ok(())
            }
            What::Sample => Ok(()),
        }
    }

    fn check_put(
        &self,
        end: &Finished<SocketAddrV4>,
        is_mutable: bool,
        has_cas: bool,
    ) -> Result<(), Violation> {
        let reasons: &[i64] = match (is_mutable, has_cas) {
            (false, _) => &[],
            (true, false) => &[302],
            (true, true) => &[301, 302],
        };
        self.check_refusals(end, reasons)?;
        self.check_asked(end)?;
        let count = end.closest.len();
        if self.is_calm && !is_mutable && (end.stored as usize != count || count == 0) {
            let message = format!("{} is stored at {} of {count}", end.target, end.stored);
            return Err(Violation::new("put-stores", message));
        }
        Ok(())
    }

    /// Of the closest nodes at least half were asked to store it; the others may have answered later.
    fn check_asked(&self, end: &Finished<SocketAddrV4>) -> Result<(), Violation> {
        let refused: u32 = end.refusals.iter().map(|(_, count)| *count).sum();
        let (asked, count) = ((end.stored + refused) as usize, end.closest.len());
        if asked * 2 < count && !self.histories.has_liars {
            let message = format!("{asked} of {count} were asked to store {}", end.target);
            return Err(Violation::new("put-stores", message));
        }
        Ok(())
    }

    /// Nobody has refused for another reason than these, or than that he is there no more.
    fn check_refusals(
        &self,
        end: &Finished<SocketAddrV4>,
        reasons: &[i64],
    ) -> Result<(), Violation> {
        let is_reason = |number: i64| number == 0 || reasons.contains(&number);
        let mut refusals = end.refusals.iter();
        match refusals.find(|(number, _)| !is_reason(*number)) {
            Some((number, count)) if !self.histories.has_liars => {
                let message = format!("{count} refuse {} with {number}", end.target);
                Err(Violation::new("refusals", message))
            }
            _ => Ok(()),
        }
    }

    /// Whether what was found in a round is what could be; all have ended that should have.
    pub fn check(&mut self, world: &World) -> Result<(), Violation> {
        let take = std::mem::take::<Tally>;
        take(&mut self.items).check("finds-stored")?;
        take(&mut self.peers).check("finds-peers")?;
        take(&mut self.reads).check("read-after-put")?;
        let now = world.now();
        self.tasks.retain(|(node, _), task| {
            world.node(*node).is_some() && world.watch().began_at(*node) <= task.at
        });
        let mut tasks = self.tasks.iter();
        match tasks.find(|(_, task)| now - task.at > ENDS_WITHIN) {
            Some(((node, _), task)) => {
                let seconds = (now - task.at) / SECOND;
                let message = format!("a lookup has not ended after {seconds} s: {task:?}");
                Err(Violation::new("lookup-ends", message).at(*node))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_more_often_than_it_may_be_is_seen() {
        let tally = |missed| Tally {
            wanted: 50,
            missed,
            expected: 0.05,
        };
        assert!(tally(0).check("finds-stored").is_ok());
        assert!(tally(1).check("finds-stored").is_ok());
        assert!(tally(20).check("finds-stored").is_err());
        assert!(Tally::default().check("finds-stored").is_ok());
    }

    #[test]
    fn what_nobody_put_is_not_taken_for_found_and_nothing_older_is_told_later() {
        let mut storage = Storage::new(1, u64::MAX);
        let put = |storage: &mut Storage, sequence| {
            let request = storage.sign(0, sequence, b"i1e".to_vec(), None);
            let target = Request::Put(request.clone()).target().expect("an item");
            storage.histories.put(0, target, &request);
            let signature = request.mutable.map(|signed| signed.signature);
            (target, Some((sequence, signature.expect("it is signed"))))
        };
        let (target, third) = put(&mut storage, 3);
        let (_, second) = put(&mut storage, 2);
        let of = (0, LookupId(1));
        let what = What::Get {
            target,
            best: None,
            holders: Vec::new(),
            demand: None,
            found: None,
        };
        storage.tasks.insert(of, Task { at: 0, what });
        assert!(storage.hear_item(1, of, b"i1e", third).is_ok());
        assert!(storage.hear_item(1, of, b"i1e", third).is_err(), "again");
        assert!(storage.hear_item(1, of, b"i1e", second).is_err(), "older");
        assert!(storage.hear_item(1, of, b"i2e", third).is_err());
    }

    #[test]
    fn a_peer_that_nobody_announced_is_seen_but_among_liars() {
        let mut storage = Storage::new(1, u64::MAX);
        let info_hash = storage.torrents[0];
        let peer = |port| SocketAddrV4::new([1, 2, 3, 4].into(), port);
        storage.announced.insert((info_hash, peer(7)));
        let of = (0, LookupId(1));
        let what = What::Announce { info_hash };
        storage.tasks.insert(of, Task { at: 0, what });
        let mut hear = |port, has_liars| {
            storage.histories.has_liars = has_liars;
            storage.hear_peers(of, &[peer(port).into()]).is_ok()
        };
        assert!(hear(7, false) && !hear(8, false) && hear(8, true));
        assert!(!hear(0, true));
    }
}
