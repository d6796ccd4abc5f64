//! Items as those see them who put and get them, end to end: each a register with a history of puts and gets in
//! simulated time. No node's store and no datagram is looked at, but what callers were told.
//!
//! - *never-put*: what a get tells was put by somebody whose put had begun by then, number and value, and its signature
//!   is that of the key over this very item;
//! - *read-after-put*: a get that begins after a put has ended finds the item, at the put's sequence number or a higher
//!   one: always where all live, nothing is lost and two have taken it, else but for as often as a lookup misses all of
//!   those, or all of them have died;
//! - *one-cas-wins*: of two puts that want to replace the same number no node takes both, so no more nodes take them
//!   together than were asked by either.

use super::{World, judge::Expected};
use holdfast_kademlia::{
    Finished, Id, PutRequest, SignedPut,
    bencode::Raw,
    item::{self, MutableItem},
    krpc::{ErrorCode, SIGNATURE_LEN},
};
use holdfast_sim::check::Violation;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
};

/// What is looked for must be there for so long still, nanoseconds: longer than any get takes.
pub const LASTS: u64 = 15_000_000_000;
/// Of the lookups that liars keep from the closest node, so many miss all that have a thing as well, at most.
const ASTRAY: f64 = 0.2;
/// Where two halves cannot reach each other, so many of those that a put has reached are among the closest of the
/// whole.
const OF_A_HALF: f64 = 0.5;

/// How often lookups miss what is there.
#[derive(Clone, Copy, Debug)]
pub struct Misses {
    /// The probability that one goes astray, and finds nobody who has it.
    pub astray: f64,
    /// The probability that it misses one of the closest nodes.
    pub one: f64,
    /// All live and nothing is lost: where two have something it is found.
    pub is_calm: bool,
}

impl Misses {
    /// Of lookups that come up to `expected`. Where nobody lies, `floor` is how many go astray.
    pub fn of(expected: &Expected, floor: f64, has_liars: bool, is_calm: bool) -> Misses {
        let recall = match expected.recall > 0.0 {
            true => expected.recall,
            // Nothing is asked of it.
            false => 0.5,
        };
        Misses {
            astray: match has_liars {
                // Who is kept from the closest node is rarely kept from all who have a thing.
                true => expected.miss * ASTRAY,
                false => floor,
            },
            one: (1.0 - recall).max(0.02),
            is_calm,
        }
    }

    /// The probability that nothing is found of what so many have, of which each is still there with this probability.
    pub fn all(&self, holders: usize, survival: f64) -> f64 {
        if self.is_calm && holders > 1 {
            return 0.0;
        }
        let one = 1.0 - (1.0 - self.one) * survival;
        (self.astray + one.powi(holders as i32)).min(1.0)
    }
}

/// One put, from its begin to its end.
#[derive(Clone, Debug)]
struct Put {
    value: Vec<u8>,
    signed: Option<SignedPut>,
    began: u64,
    /// `None`: it goes on, or whoever put it has died.
    end: Option<End>,
}

/// What somebody was told of his put.
#[derive(Clone, Debug, Default)]
struct End {
    at: u64,
    /// Who was asked to store it.
    asked: Vec<SocketAddrV4>,
    /// How many said that they have.
    stored: u32,
    /// How many have it or something newer, by what they said, those left out that may lie.
    holders: usize,
    /// How many nodes there were.
    population: usize,
    /// They were of one half of all.
    is_of_a_half: bool,
}

impl Put {
    fn sequence(&self) -> Option<i64> {
        self.signed.as_ref().map(|signed| signed.sequence)
    }

    /// The number that it wants to replace, if it is a lower one: who has taken it has another number from then on.
    fn replaces(&self) -> Option<i64> {
        let signed = self.signed.as_ref()?;
        signed.cas.filter(|cas| *cas < signed.sequence)
    }
}

/// What a get must find that begins now.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The sequence number, or a higher one; `None`: the item, which cannot change.
    sequence: Option<i64>,
    /// The puts of it that have ended.
    puts: Vec<usize>,
}

impl Demand {
    /// Whether this satisfies it: nothing, or an item and its number.
    pub fn is_met(&self, found: Option<Option<i64>>) -> bool {
        found.is_some_and(|found| found >= self.sequence)
    }
}

/// All registers.
pub struct Histories {
    /// How long nodes keep an item.
    lifetime: u64,
    registers: BTreeMap<Id, Vec<Put>>,
    /// Two halves cannot reach each other.
    pub is_cut: bool,
    /// Somebody lies.
    pub has_liars: bool,
}

impl Histories {
    /// Of nodes that keep items for so long.
    pub fn new(lifetime: u64) -> Self {
        Histories {
            lifetime,
            registers: BTreeMap::new(),
            is_cut: false,
            has_liars: false,
        }
    }

    /// Somebody begins to put something; which of the puts there it is.
    pub fn put(&mut self, at: u64, target: Id, request: &PutRequest) -> usize {
        let puts = self.registers.entry(target).or_default();
        puts.push(Put {
            value: request.value.clone(),
            signed: request.mutable.clone(),
            began: at,
            end: None,
        });
        puts.len() - 1
    }

    /// A put has ended.
    pub fn put_ended(
        &mut self,
        at: u64,
        place: usize,
        end: &Finished<SocketAddrV4>,
        world: &World,
    ) -> Result<(), Violation> {
        let liars = end.closest.iter().filter(|contact| {
            let node = world.addresses().index(contact.address);
            node.is_none_or(|node| world.is_adversary(node))
        });
        let newer = end.refusals.iter();
        let newer = newer.filter(|(number, _)| *number == ErrorCode::SequenceTooLow.number());
        let newer: u32 = newer.map(|(_, count)| count).sum();
        let ended = End {
            at,
            asked: asked(end, world.config().k),
            stored: end.stored,
            holders: ((end.stored + newer) as usize).saturating_sub(liars.count()),
            population: world.census().len(),
            is_of_a_half: self.is_cut,
        };
        self.close(end.target, place, ended)
    }

    fn close(&mut self, target: Id, place: usize, end: End) -> Result<(), Violation> {
        let Some(put) = self.registers.get_mut(&target).map(|puts| &mut puts[place]) else {
            return Ok(());
        };
        put.end = Some(end);
        match self.has_liars {
            true => Ok(()),
            false => self.check_cas(target, place),
        }
    }

    /// Of two puts that want to replace the same number, a node takes one at most, for as long as it keeps it.
    fn check_cas(&self, target: Id, place: usize) -> Result<(), Violation> {
        let puts = self.registers.get(&target).map_or(&[][..], |puts| puts);
        let put = &puts[place];
        let (Some(cas), Some(end)) = (put.replaces(), &put.end) else {
            return Ok(());
        };
        for other in puts {
            let Some(before) = &other.end else { continue };
            let is_rival = other.replaces() == Some(cas)
                && (other.sequence(), &other.value) != (put.sequence(), &put.value)
                && end.at < other.began + self.lifetime
                && before.at < put.began + self.lifetime;
            if !is_rival {
                continue;
            }
            let asked: BTreeSet<_> = end.asked.iter().chain(&before.asked).collect();
            let stored = (end.stored + before.stored) as usize;
            if stored > asked.len() {
                let message = format!(
                    "numbers {:?} and {:?} were both to replace {cas} of {target}, at {} nodes, and {stored} have",
                    other.sequence(),
                    put.sequence(),
                    asked.len()
                );
                return Err(Violation::new("one-cas-wins", message));
            }
        }
        Ok(())
    }

    /// A get was told this: somebody must have put it by then, under a signature that fits.
    pub fn told(
        &self,
        at: u64,
        target: Id,
        value: &[u8],
        version: Option<(i64, [u8; SIGNATURE_LEN])>,
    ) -> Result<(), Violation> {
        let never = |what: &str| {
            let sequence = version.map(|(sequence, _)| sequence);
            let message = format!("{target} is found at {sequence:?}, {what}");
            Err(Violation::new("never-put", message))
        };
        let sequence = version.map(|(sequence, _)| sequence);
        let mut puts = self.registers.get(&target).into_iter().flatten();
        let Some(put) =
            puts.find(|p| p.sequence() == sequence && p.value == value && p.began <= at)
        else {
            return never("and nobody had put that");
        };
        let Ok(raw) = Raw::parse(value) else {
            return never("and it is no bencode");
        };
        let is_right = match (&put.signed, &version) {
            (Some(signed), Some((sequence, signature))) => {
                let item = MutableItem {
                    key: &signed.key,
                    salt: &signed.salt,
                    sequence: *sequence,
                    value: raw,
                    signature,
                };
                item.verify().is_ok() && item.target() == target
            }
            (None, None) => item::immutable_target(raw) == target,
            _ => false,
        };
        match is_right {
            true => Ok(()),
            false => never("and it is not what it is stored under, or not signed by whose it is"),
        }
    }

    /// What a get must find that begins now, if there is something that must still be there at its end.
    pub fn demand(&self, at: u64, target: Id) -> Option<Demand> {
        let puts = self.registers.get(&target)?;
        let must_last = |put: &Put| {
            let is_held = put
                .end
                .as_ref()
                .is_some_and(|end| end.at <= at && end.holders > 0);
            is_held && at + LASTS < put.began + self.lifetime
        };
        let held = puts.iter().enumerate().filter(|(_, put)| must_last(put));
        let held: Vec<(Option<i64>, usize)> =
            held.map(|(place, put)| (put.sequence(), place)).collect();
        let newest = held.iter().map(|(sequence, _)| *sequence).max()?;
        let puts = held
            .into_iter()
            .filter(|(sequence, _)| *sequence == newest)
            .map(|(_, place)| place);
        Some(Demand {
            sequence: newest,
            puts: puts.collect(),
        })
    }

    /// The probability that a get of `asker` does not find what it must, now that it has ended; `None` where nobody has
    /// it whom he could ask.
    pub fn miss(
        &self,
        target: Id,
        demand: &Demand,
        asker: u32,
        world: &World,
        misses: &Misses,
    ) -> Option<f64> {
        let puts = self.registers.get(&target)?;
        let ends = demand
            .puts
            .iter()
            .filter_map(|place| puts[*place].end.as_ref());
        let own = world.addresses().address(asker);
        let chances = ends.filter_map(|end| {
            let holders = end.holders - usize::from(end.asked.contains(&own));
            let survivors = world.census().entries().iter();
            let survivors = survivors.filter(|(_, node)| world.watch().began_at(*node) <= end.at);
            let survival = survivors.count() as f64 / end.population.max(1) as f64;
            let survival = match end.is_of_a_half {
                true => survival * OF_A_HALF,
                false => survival,
            };
            (holders > 0).then(|| misses.all(holders, survival.min(1.0)))
        });
        // Any one put is enough.
        chances.reduce(f64::min)
    }
}

/// Who was asked to store something: the k closest of those that had answered when they were found.
fn asked(end: &Finished<SocketAddrV4>, k: usize) -> Vec<SocketAddrV4> {
    let in_time = |after: u64| after <= end.found_after;
    let answered = end
        .steps
        .iter()
        .filter(|step| step.answered_after.is_some_and(in_time));
    let mut answered: Vec<_> = answered.map(|step| step.contact).collect();
    answered.sort_by_key(|contact| end.target.distance(contact.id));
    answered.dedup();
    answered.truncate(k);
    answered.iter().map(|contact| contact.address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_kademlia::item::SecretKey;

    const LIFETIME: u64 = 1_000 * LASTS;

    fn signed(sequence: i64, value: &[u8], cas: Option<i64>) -> (Id, PutRequest) {
        let key = SecretKey::from_seed(&[5; 32]);
        let raw = Raw::parse(value).expect("bencode");
        let mutable = SignedPut {
            key: *key.public(),
            salt: b"s".to_vec(),
            sequence,
            signature: key.sign(b"s", sequence, raw).expect("short enough"),
            cas,
        };
        let request = PutRequest {
            value: value.to_vec(),
            mutable: Some(mutable),
        };
        (item::mutable_target(key.public(), b"s"), request)
    }

    fn version(request: &PutRequest) -> Option<(i64, [u8; SIGNATURE_LEN])> {
        let signed = request.mutable.as_ref()?;
        Some((signed.sequence, signed.signature))
    }

    fn end(at: u64, holders: usize, asked: std::ops::Range<u16>) -> End {
        let address = |port| SocketAddrV4::new([1, 2, 3, 4].into(), port);
        End {
            at,
            holders,
            stored: holders as u32,
            asked: asked.map(address).collect(),
            population: 10,
            is_of_a_half: false,
        }
    }

    #[test]
    fn what_is_told_was_put_before_and_is_signed() {
        let mut histories = Histories::new(LIFETIME);
        let (target, first) = signed(3, b"i1e", None);
        histories.put(10, target, &first);
        let told = |at, value: &[u8], version| histories.told(at, target, value, version).is_ok();
        assert!(told(10, b"i1e", version(&first)));
        assert!(!told(9, b"i1e", version(&first)), "nobody had put it yet");
        assert!(!told(10, b"i2e", version(&first)), "another value");
        assert!(!told(10, b"i1e", None), "without a number");
        let forged = version(&first).map(|(sequence, mut signature)| {
            signature[0] ^= 1;
            (sequence, signature)
        });
        assert!(!told(10, b"i1e", forged), "another signature");
        assert!(
            histories
                .told(10, Id::MAX, b"i1e", version(&first))
                .is_err()
        );
    }

    #[test]
    fn a_get_must_find_what_was_put_before_it_began_and_lasts() {
        let mut histories = Histories::new(LIFETIME);
        let (target, third) = signed(3, b"i1e", None);
        let (_, fifth) = signed(5, b"i2e", None);
        let third = histories.put(10, target, &third);
        let fifth = histories.put(12, target, &fifth);
        assert!(histories.demand(50, target).is_none(), "they are under way");
        histories
            .close(target, third, end(20, 8, 0..8))
            .expect("no rival");
        histories
            .close(target, fifth, end(30, 1, 0..8))
            .expect("no rival");
        let of = |at| histories.demand(at, target);
        assert!(of(19).is_none());
        let (before, after) = (of(29).expect("ended"), of(30).expect("ended"));
        assert_eq!((before.sequence, after.sequence), (Some(3), Some(5)));
        assert!(before.is_met(Some(Some(3))) && before.is_met(Some(Some(4))));
        assert!(!before.is_met(Some(Some(2))) && !before.is_met(None));
        assert!(!after.is_met(Some(Some(4))));
        assert!(of(10 + LIFETIME - LASTS).is_some());
        assert!(of(12 + LIFETIME - LASTS).is_none(), "it may have expired");
        let sixth = histories.put(31, target, &signed(6, b"i3e", None).1);
        histories
            .close(target, sixth, end(32, 0, 0..8))
            .expect("no rival");
        let now = histories.demand(40, target).expect("ended");
        assert_eq!(now.sequence, Some(5), "nobody has taken the sixth");
    }

    #[test]
    fn no_node_takes_two_puts_that_replace_the_same() {
        let rivals = |first: u32, second: u32, cas: Option<i64>| {
            let mut histories = Histories::new(LIFETIME);
            let (target, a) = signed(4, b"i1e", Some(3));
            let (_, b) = signed(5, b"i2e", cas);
            let (a, b) = (histories.put(1, target, &a), histories.put(2, target, &b));
            let taken = |stored, asked| End {
                stored,
                ..end(9, 8, asked)
            };
            histories
                .close(target, a, taken(first, 0..8))
                .expect("alone");
            histories.close(target, b, taken(second, 1..9)).is_ok()
        };
        assert!(rivals(8, 1, Some(3)), "nine were asked");
        assert!(!rivals(8, 2, Some(3)));
        assert!(rivals(8, 8, Some(4)), "one after the other");
        assert!(rivals(8, 8, None), "it does not care");
    }

    #[test]
    fn what_fewer_have_or_may_have_survived_is_missed_more_often() {
        let misses = Misses {
            astray: 0.001,
            one: 0.1,
            is_calm: false,
        };
        let off = |holders, survival: f64, expected: f64| {
            (misses.all(holders, survival) - expected).abs() < 1e-9
        };
        assert!(off(1, 1.0, 0.101) && off(2, 1.0, 0.011) && off(1, 0.5, 0.551));
        let calm = Misses {
            is_calm: true,
            ..misses
        };
        assert_eq!((calm.all(2, 1.0), calm.all(1, 1.0) > 0.0), (0.0, true));
    }
}
