//! The routing table (BEP 5, "Routing Table"; Maymounkov and Mazières 2002, section 2.4).
//!
//! A bucket holds the contacts that share exactly so many first bits with the node's own id, the last one those that
//! share as many or more; only the last one is ever split. Nobody gets in but who has answered: what others say of
//! third nodes are rumours, and a query proves no address. Who has been there long and lives stays; who comes later
//! waits as a spare until somebody's place is free.

use crate::{
    Id,
    config::{Config, MINUTE, Mutant, Nanos, SECOND, distance, network_of},
    krpc::{Contact, Endpoint},
    secure_id,
};

/// Who has not answered for so long is asked before it is believed to live (BEP 5: "questionable").
pub const QUESTIONABLE_AFTER: Nanos = 15 * MINUTE;
/// A bucket in which nobody has answered for so long is refreshed (BEP 5).
pub const REFRESH_AFTER: Nanos = 15 * MINUTE;
/// So many unanswered queries in a row make a contact a bad one.
pub const BAD_AFTER: u8 = 2;
/// Entries for which room is made at a time.
const GROWS_BY: usize = 8;
/// Most spares of a table.
pub const MAX_SPARES: usize = 64;
/// The shortest and longest time to wait for a contact's answer before somebody else is asked, nanoseconds.
pub const PATIENCE: (Nanos, Nanos) = (50_000_000, 2 * SECOND);

/// Coarse time, of a quarter of a second: what contacts keep of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Tick(u32);

impl Tick {
    const BITS: u32 = 28;

    fn of(now: Nanos) -> Tick {
        Tick(u32::try_from(now >> Self::BITS).unwrap_or(u32::MAX))
    }

    fn age(self, now: Nanos) -> Nanos {
        now.saturating_sub(u64::from(self.0) << Self::BITS)
    }
}

/// Round trips as they were measured, smoothed (RFC 6298, section 2): milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrips {
    /// Eighths of a millisecond; 0: nothing was measured.
    mean: u16,
    /// Quarters of a millisecond.
    deviation: u16,
}

impl RoundTrips {
    /// Takes in one more.
    pub fn measured(&mut self, took: Nanos) {
        let millis = (took / 1_000_000).min(8_000) as i32;
        if self.mean == 0 {
            self.mean = (millis * 8).max(1) as u16;
            self.deviation = (millis * 2) as u16;
            return;
        }
        let error = millis - i32::from(self.mean) / 8;
        self.mean = (i32::from(self.mean) + error).clamp(1, 64_000) as u16;
        let deviation = i32::from(self.deviation);
        self.deviation = (deviation + error.abs() - deviation / 4).clamp(0, 64_000) as u16;
    }

    /// How long an answer may take before somebody else is asked instead; `None` when nothing was measured.
    pub fn patience(&self, deviations: u32) -> Option<Nanos> {
        if self.mean == 0 {
            return None;
        }
        let millis =
            u64::from(self.mean) / 8 + u64::from(self.deviation) * u64::from(deviations) / 4;
        Some((millis * 1_000_000).clamp(PATIENCE.0, PATIENCE.1))
    }

    /// The mean, if there is one.
    pub fn mean(&self) -> Option<Nanos> {
        (self.mean != 0).then_some(u64::from(self.mean) * 125_000)
    }
}

/// A contact that has answered.
#[derive(Clone, Copy, Debug)]
struct Entry<A> {
    contact: Contact<A>,
    trips: RoundTrips,
    /// When it answered last.
    answered: Tick,
    /// Queries since that it has not answered.
    failures: u8,
    /// It is being asked whether it lives.
    is_checked: bool,
}

impl<A> Entry<A> {
    fn is_bad(&self) -> bool {
        self.failures >= BAD_AFTER
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// The end of its entries; they begin where those of the one before end.
    end: u16,
    /// When somebody in it answered last.
    touched: Tick,
}

/// What became of a contact that has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<A> {
    /// It is in the table, and was before.
    Known,
    /// It has come into the table.
    Entered,
    /// It is a spare. If somebody in its bucket has been silent for long, that one should be asked.
    Spare(Option<Contact<A>>),
    /// It is kept out: its id is not of its address, or there are enough of its network.
    KeptOut,
}

/// How many contacts a table has, and what is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Answered within [`QUESTIONABLE_AFTER`].
    pub good: usize,
    /// Have been silent since.
    pub questionable: usize,
    /// Do not answer.
    pub bad: usize,
    /// Wait for a place.
    pub spares: usize,
    /// Buckets.
    pub buckets: usize,
}

/// The contacts of a node in one address family.
#[derive(Clone, Debug)]
pub struct Table<A> {
    own: Id,
    entries: Vec<Entry<A>>,
    buckets: Vec<Bucket>,
    /// Those that have answered and found no place, the last one last.
    spares: Vec<Contact<A>>,
}

impl<A: Endpoint> Table<A> {
    /// An empty one.
    pub fn new(own: Id, now: Nanos) -> Self {
        Table {
            own,
            entries: Vec::new(),
            buckets: vec![Bucket {
                end: 0,
                touched: Tick::of(now),
            }],
            spares: Vec::new(),
        }
    }

    /// Contacts in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All contacts, bucket by bucket.
    pub fn contacts(&self) -> impl Iterator<Item = Contact<A>> + '_ {
        self.entries.iter().map(|entry| entry.contact)
    }

    /// Those that are taken for dead.
    pub fn bad(&self) -> impl Iterator<Item = Contact<A>> + '_ {
        let bad = self.entries.iter().filter(|entry| entry.is_bad());
        bad.map(|entry| entry.contact)
    }

    /// How it is.
    pub fn health(&self, now: Nanos) -> Health {
        let mut health = Health {
            spares: self.spares.len(),
            buckets: self.buckets.len(),
            ..Health::default()
        };
        for entry in &self.entries {
            let count = match entry {
                entry if entry.is_bad() => &mut health.bad,
                entry if entry.answered.age(now) > QUESTIONABLE_AFTER => &mut health.questionable,
                _ => &mut health.good,
            };
            *count += 1;
        }
        health
    }

    fn bucket_of(&self, id: Id) -> usize {
        let shared = self.own.shared_bits(id) as usize;
        shared.min(self.buckets.len() - 1)
    }

    fn range(&self, bucket: usize) -> std::ops::Range<usize> {
        let start = match bucket {
            0 => 0,
            _ => self.buckets[bucket - 1].end,
        };
        usize::from(start)..usize::from(self.buckets[bucket].end)
    }

    /// The last bucket is split before it holds more than k: until then nobody knows how many buckets there will be.
    fn capacity(&self, bucket: usize, config: &Config) -> usize {
        match bucket + 1 == self.buckets.len() {
            true => config.k,
            false => config.room(bucket),
        }
    }

    fn position(&self, id: Id) -> Option<usize> {
        let range = self.range(self.bucket_of(id));
        let start = range.start;
        let found = self.entries[range].iter().position(|e| e.contact.id == id);
        found.map(|place| start + place)
    }

    /// What is known of how long a contact takes to answer.
    pub fn round_trips(&self, contact: &Contact<A>) -> RoundTrips {
        self.position(contact.id)
            .map(|place| &self.entries[place])
            .filter(|entry| entry.contact.address == contact.address)
            .map_or(RoundTrips::default(), |entry| entry.trips)
    }

    /// Whether a node of this id, which has not proved its address yet, would be taken in: there is room for it, or it was
    /// taken for dead.
    pub fn has_room_for(&self, id: Id, config: &Config) -> bool {
        if id == self.own {
            return false;
        }
        if let Some(place) = self.position(id) {
            return self.entries[place].is_bad();
        }
        let bucket = self.bucket_of(id);
        let range = self.range(bucket);
        range.len() < self.capacity(bucket, config)
            || bucket + 1 == self.buckets.len()
            || self.entries[range].iter().any(Entry::is_bad)
    }

    /// A contact has answered a query that was sent to its address, after `took`.
    pub fn heard(
        &mut self,
        now: Nanos,
        contact: Contact<A>,
        took: Option<Nanos>,
        config: &Config,
    ) -> Heard<A> {
        if contact.id == self.own {
            return Heard::KeptOut;
        }
        if let Some(place) = self.position(contact.id) {
            let entry = &mut self.entries[place];
            if entry.contact.address == contact.address {
                entry.answered = Tick::of(now);
                entry.failures = 0;
                entry.is_checked = false;
                if let Some(took) = took {
                    entry.trips.measured(took);
                }
                let bucket = self.bucket_of(contact.id);
                self.buckets[bucket].touched = Tick::of(now);
                return Heard::Known;
            }
            // Somebody else has the id. While that one lives, it is its own.
            if !entry.is_bad() {
                return Heard::KeptOut;
            }
            self.remove(place);
        }
        // One address is one node: who was there before is there no more.
        if let Some(place) = self
            .entries
            .iter()
            .position(|entry| entry.contact.address == contact.address)
        {
            self.remove(place);
        }
        let ip = contact.address.into().ip();
        if config.secure_ids && !secure_id::is_valid_planted(contact.id, ip, config.mutant) {
            return Heard::KeptOut;
        }
        self.enter(now, contact, took, config)
    }

    fn enter(
        &mut self,
        now: Nanos,
        contact: Contact<A>,
        took: Option<Nanos>,
        config: &Config,
    ) -> Heard<A> {
        let mut entry = Entry {
            contact,
            trips: RoundTrips::default(),
            answered: Tick::of(now),
            failures: 0,
            is_checked: false,
        };
        if let Some(took) = took {
            entry.trips.measured(took);
        }
        loop {
            let bucket = self.bucket_of(contact.id);
            if !self.is_diverse(bucket, contact.address, config) {
                return Heard::KeptOut;
            }
            let range = self.range(bucket);
            let is_full = range.len() >= self.capacity(bucket, config)
                && !Mutant::BucketOverfull.is_in(config.mutant);
            if !is_full {
                self.insert(bucket, entry);
                return Heard::Entered;
            }
            if bucket + 1 == self.buckets.len() && self.buckets.len() < Id::BITS as usize {
                self.split();
                continue;
            }
            let bad = range.clone().find(|place| self.entries[*place].is_bad());
            let replaced = match bad {
                None if Mutant::LiveReplaced.is_in(config.mutant) => Some(range.start),
                bad => bad,
            };
            if let Some(place) = replaced {
                self.remove(place);
                self.insert(bucket, entry);
                return Heard::Entered;
            }
            self.keep_spare(contact, config);
            // The one that has been silent for longest, if any has been for too long.
            let entries = self.entries[range].iter_mut();
            let silent = entries.min_by_key(|entry| entry.answered);
            let silent = silent
                .filter(|entry| !entry.is_checked && entry.answered.age(now) > QUESTIONABLE_AFTER);
            return Heard::Spare(silent.map(|entry| {
                entry.is_checked = true;
                entry.contact
            }));
        }
    }

    fn insert(&mut self, bucket: usize, entry: Entry<A>) {
        let end = usize::from(self.buckets[bucket].end);
        self.spares
            .retain(|spare| spare.id != entry.contact.id && spare.address != entry.contact.address);
        if self.entries.len() == self.entries.capacity() {
            // Little by little: a table stays at the size that it has, and twice the room would stay empty.
            self.entries.reserve_exact(GROWS_BY);
        }
        self.entries.insert(end, entry);
        for bucket in &mut self.buckets[bucket..] {
            bucket.end += 1;
        }
        self.buckets[bucket].touched = entry.answered.max(self.buckets[bucket].touched);
    }

    fn remove(&mut self, place: usize) {
        let bucket = self.bucket_of(self.entries[place].contact.id);
        self.entries.remove(place);
        for bucket in &mut self.buckets[bucket..] {
            bucket.end -= 1;
        }
    }

    /// Splits the last bucket: those of its contacts that share no more bits than its number stay.
    fn split(&mut self) {
        let last = self.buckets.len() - 1;
        let range = self.range(last);
        let own = self.own;
        let stays = |entry: &Entry<A>| own.shared_bits(entry.contact.id) as usize == last;
        self.entries[range.clone()].sort_by_key(|entry| !stays(entry));
        let staying = self.entries[range.clone()].partition_point(stays);
        let bucket = self.buckets[last];
        self.buckets[last].end = (range.start + staying) as u16;
        self.buckets.push(bucket);
    }

    /// Whether there is room for another contact of this one's network in a bucket, and none of its address anywhere.
    fn is_diverse(&self, bucket: usize, address: A, config: &Config) -> bool {
        let Some(network) = network_of(address.into()) else {
            return true;
        };
        let is_same_ip =
            |entry: &Entry<A>| entry.contact.address.into().ip() == address.into().ip();
        if self.entries.iter().any(is_same_ip) {
            return false;
        }
        let of_network =
            |entry: &&Entry<A>| network_of(entry.contact.address.into()) == Some(network);
        let entries = self.entries[self.range(bucket)].iter();
        let mut count = entries.filter(of_network).count();
        if Mutant::UnverifiedCounted.is_in(config.mutant) {
            let of_network = |spare: &&Contact<A>| {
                network_of(spare.address.into()) == Some(network)
                    && self.bucket_of(spare.id) == bucket
            };
            count += self.spares.iter().filter(of_network).count();
        }
        count < config.per_network
    }

    /// Somebody has asked, and that is all that is known of him: the mutant [`Mutant::UnverifiedCounted`] keeps him
    /// like a spare.
    pub(crate) fn keep_unverified(&mut self, contact: Contact<A>, config: &Config) {
        if contact.id != self.own && self.position(contact.id).is_none() {
            self.keep_spare(contact, config);
        }
    }

    /// Remembers a contact that has no place, the last ones of a bucket first.
    fn keep_spare(&mut self, contact: Contact<A>, config: &Config) {
        self.spares
            .retain(|spare| spare.id != contact.id && spare.address != contact.address);
        let bucket = self.bucket_of(contact.id);
        let is_here = |spare: &Contact<A>| self.bucket_of(spare.id) == bucket;
        let here = self.spares.iter().filter(|spare| is_here(spare)).count();
        let oldest = match here >= config.k {
            true => self.spares.iter().position(is_here),
            false => (self.spares.len() >= MAX_SPARES).then_some(0),
        };
        if let Some(oldest) = oldest {
            self.spares.remove(oldest);
        }
        self.spares.push(contact);
    }

    /// A contact has not answered. `Some`: a spare that may take its place, once it has answered again.
    pub fn failed(&mut self, contact: &Contact<A>) -> Option<Contact<A>> {
        self.spares.retain(|spare| spare != contact);
        let place = self.position(contact.id)?;
        let entry = &mut self.entries[place];
        if entry.contact.address != contact.address {
            return None;
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.is_checked = false;
        if !entry.is_bad() {
            return None;
        }
        let bucket = self.bucket_of(contact.id);
        let last = self
            .spares
            .iter()
            .rposition(|spare| self.bucket_of(spare.id) == bucket)?;
        Some(self.spares.remove(last))
    }

    /// The contacts closest to `target`, best first, at most `count`, appended to `out`: those that answer before those
    /// that do not, which are not told at all unless `with_bad`.
    pub fn closest(
        &self,
        target: Id,
        count: usize,
        with_bad: bool,
        config: &Config,
        out: &mut Vec<Contact<A>>,
    ) {
        let begin = out.len();
        let bucket = self.bucket_of(target);
        // Closest are those of the target's own bucket; then all that share more bits with this node's id than the
        // target does, equally many with the target; then bucket by bucket those that share fewer.
        let mut take = |range: std::ops::Range<usize>| {
            let entries = self.entries[range].iter();
            let wanted = entries.filter(|entry| with_bad || !entry.is_bad());
            out.extend(wanted.map(|entry| entry.contact));
            out.len() - begin >= count
        };
        let mut has_enough = take(self.range(bucket));
        if !has_enough || Mutant::DistanceBackwards.is_in(config.mutant) {
            has_enough = take(self.range(bucket).end..self.entries.len());
        }
        let mut before = bucket;
        while !has_enough && before > 0 {
            before -= 1;
            has_enough = take(self.range(before));
        }
        out[begin..].sort_unstable_by_key(|contact| distance(target, contact.id, config.mutant));
        out.truncate(begin + count);
    }

    /// A bucket in which nobody has answered for [`REFRESH_AFTER`], by the bits that it shares with the own id: it counts
    /// as touched from now on.
    pub fn take_stale(&mut self, now: Nanos, config: &Config) -> Option<u32> {
        let is_stale = |bucket: &Bucket| bucket.touched.age(now) >= REFRESH_AFTER;
        if Mutant::OwnBucketRefreshed.is_in(config.mutant) {
            let others = self.buckets.len() - 1;
            let others = self.buckets[..others].iter_mut();
            for bucket in others.filter(|bucket| is_stale(bucket)) {
                bucket.touched = Tick::of(now);
            }
        }
        let stale = self.buckets.iter().position(is_stale)?;
        self.buckets[stale].touched = Tick::of(now);
        Some(stale as u32)
    }

    /// When the next bucket will be stale.
    pub fn stale_at(&self) -> Nanos {
        let touched = self.buckets.iter().map(|bucket| bucket.touched).min();
        let touched = touched.expect("there is a bucket");
        // A tick is shorter than what it stands for by up to its length.
        (u64::from(touched.0) << Tick::BITS) + REFRESH_AFTER
    }

    /// How many bits the last bucket's contacts share with the own id at least.
    pub fn depth(&self) -> u32 {
        self.buckets.len() as u32 - 1
    }

    /// Whether nobody in it answers.
    pub fn is_deserted(&self) -> bool {
        self.entries.iter().all(Entry::is_bad)
    }

    /// Whether fewer than `k` in it answer.
    pub fn is_sparse(&self, k: usize) -> bool {
        let alive = self.entries.iter().filter(|entry| !entry.is_bad());
        alive.take(k).count() < k
    }

    /// What must hold whatever happens.
    ///
    /// # Panics
    /// When it does not.
    pub fn check(&self, config: &Config) {
        let mut before = 0;
        for bucket in 0..self.buckets.len() {
            let range = self.range(bucket);
            assert!(
                range.start == before && range.end >= before,
                "buckets follow each other"
            );
            before = range.end;
            assert!(
                range.len() <= self.capacity(bucket, config),
                "a bucket holds {} contacts",
                range.len()
            );
            for entry in &self.entries[range] {
                let shared = self.own.shared_bits(entry.contact.id) as usize;
                let is_last = bucket + 1 == self.buckets.len();
                assert!(
                    shared == bucket || (is_last && shared > bucket),
                    "in its bucket"
                );
                assert!(entry.contact.id != self.own, "nobody is its own contact");
            }
        }
        assert_eq!(before, self.entries.len(), "buckets cover everything");
        for (place, entry) in self.entries.iter().enumerate() {
            let twin = self.entries[..place].iter().any(|other| {
                other.contact.id == entry.contact.id
                    || other.contact.address == entry.contact.address
            });
            assert!(!twin, "each contact once");
        }
        assert!(self.spares.len() <= MAX_SPARES, "spares are bounded");
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<A>>()
            + self.buckets.capacity() * size_of::<Bucket>()
            + self.spares.capacity() * size_of::<Contact<A>>()
    }
}
