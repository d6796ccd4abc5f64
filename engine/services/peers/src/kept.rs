//! What a caller asked to keep in the DHT: it is stored again before those that hold it forget it.

use holdfast_kademlia::{Id, Nanos, Request};
use rand::Rng;
use std::{collections::BTreeMap, time::Duration};

/// How often a peer is announced again: nodes keep one for half an hour (BEP 5 says nothing, libtorrent 30 minutes).
pub const PEER_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How often an item is put again: nodes keep one for two hours, and are to be told every hour (BEP 44, "Expiration").
pub const ITEM_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Most that is kept, of all local nodes together.
pub const MAX_KEPT: usize = 10_000;
/// When something is tried again that nobody took.
const RETRY: Duration = Duration::from_secs(60);

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptKind {
    /// That this node is a peer of a torrent.
    Peer,
    /// An item.
    Item,
}

/// Something that is kept, and how that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptStatus {
    /// Which local node keeps it; `None`: it is stored through any, another each time.
    pub node: Option<usize>,
    /// What it is.
    pub kind: KeptKind,
    /// The torrent, or what the item is stored under.
    pub target: Id,
    /// Nodes that took it the last time; `None`: it was not stored yet.
    pub stored: Option<u32>,
    /// How long until it is stored again.
    pub next: Duration,
}

/// How long after a node another one of this host asks for the same, nanoseconds: those that are asked are to notice
/// nothing of it (BEP 45, "Mandatory").
pub(crate) const SPACING: Nanos = 2_000_000_000;
/// The node in the name of what is stored through any.
pub(crate) const ANY: u32 = u32::MAX;
/// Names something that is kept.
pub(crate) type Key = (u32, KeptKind, Id);
/// Names it, and nothing that is kept under the same name later.
pub(crate) type Keep = (Key, u64);

#[derive(Clone, Debug)]
struct Entry {
    /// Tells it from what was kept under the same name before.
    number: u64,
    request: Request,
    at: Nanos,
    stored: Option<u32>,
}

/// Everything that is kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    entries: BTreeMap<Key, Entry>,
    /// When each is due, the soonest first.
    due: std::collections::BTreeSet<(Nanos, Key)>,
    next_number: u64,
}

impl Kept {
    /// What a request would keep; `None` for one that stores nothing.
    pub fn kind(request: &Request) -> Option<KeptKind> {
        match request {
            Request::Announce { .. } => Some(KeptKind::Peer),
            Request::Put(_) => Some(KeptKind::Item),
            _ => None,
        }
    }

    /// Keeps what is being stored just now; `None`: there is no room. What compares the number that is there (`cas`) does so
    /// once.
    pub fn insert(
        &mut self,
        now: Nanos,
        key: Key,
        request: &Request,
        rng: &mut impl Rng,
    ) -> Option<Keep> {
        if self.entries.len() >= MAX_KEPT && !self.entries.contains_key(&key) {
            return None;
        }
        let mut request = request.clone();
        if let Request::Put(put) = &mut request
            && let Some(mutable) = &mut put.mutable
        {
            mutable.cas = None;
        }
        self.remove(key);
        let at = self.apart(key, now + interval(key.1, rng));
        self.due.insert((at, key));
        let stored = None;
        let number = self.next_number;
        self.next_number += 1;
        self.entries.insert(
            key,
            Entry {
                number,
                request,
                at,
                stored,
            },
        );
        Some((key, number))
    }

    /// No longer keeps something; whether it did.
    pub fn remove(&mut self, key: Key) -> bool {
        let Some(entry) = self.entries.remove(&key) else {
            return false;
        };
        self.due.remove(&(entry.at, key));
        true
    }

    /// No longer keeps this very one; nothing happens when another has taken its place.
    pub fn drop_one(&mut self, keep: Keep) {
        if self.is_kept(keep) {
            self.remove(keep.0);
        }
    }

    fn is_kept(&self, (key, number): Keep) -> bool {
        let entry = self.entries.get(&key);
        entry.is_some_and(|entry| entry.number == number)
    }

    /// When the first one is due.
    pub fn due(&self) -> Nanos {
        self.due.first().map_or(Nanos::MAX, |(at, _)| *at)
    }

    /// What is due, and to be stored again now.
    pub fn take_due(&mut self, now: Nanos, rng: &mut impl Rng) -> Option<(Keep, Request)> {
        let (at, key) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.put_off(key, now + interval(key.1, rng));
        let entry = self.entries.get(&key)?;
        Some(((key, entry.number), entry.request.clone()))
    }

    /// How many nodes took it. What nobody took is tried again soon.
    pub fn stored(&mut self, now: Nanos, keep: Keep, count: u32) {
        if !self.is_kept(keep) {
            return;
        }
        let key = keep.0;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.stored = Some(count);
        }
        if count == 0 {
            self.put_off(key, now + nanos(RETRY));
        }
    }

    /// The time, or the next one at which no other node of this host stores the same.
    fn apart(&self, key: Key, mut at: Nanos) -> Nanos {
        const FIRST: Key = (0, KeptKind::Peer, Id::ZERO);
        // Each step passes one of the others.
        loop {
            let near = (at.saturating_sub(SPACING - 1), FIRST)..(at + SPACING, FIRST);
            let is_same = |other: &&(Nanos, Key)| {
                let (_, other) = other;
                (other.1, other.2) == (key.1, key.2) && other.0 != key.0
            };
            match self.due.range(near).rfind(is_same) {
                Some((other, _)) => at = other + SPACING,
                None => return at,
            }
        }
    }

    fn put_off(&mut self, key: Key, at: Nanos) {
        let at = self.apart(key, at);
        if let Some(entry) = self.entries.get_mut(&key) {
            self.due.remove(&(entry.at, key));
            entry.at = at;
            self.due.insert((at, key));
        }
    }

    pub fn status(&self, now: Nanos) -> Vec<KeptStatus> {
        let status = |(key, entry): (&Key, &Entry)| KeptStatus {
            node: (key.0 != ANY).then_some(key.0 as usize),
            kind: key.1,
            target: key.2,
            stored: entry.stored,
            next: Duration::from_nanos(entry.at.saturating_sub(now)),
        };
        self.entries.iter().map(status).collect()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The next time comes up to a tenth early, so that what was begun together does not stay together.
fn interval(kind: KeptKind, rng: &mut impl Rng) -> Nanos {
    let interval = nanos(match kind {
        KeptKind::Peer => PEER_INTERVAL,
        KeptKind::Item => ITEM_INTERVAL,
    });
    interval - rng.random_range(0..interval / 10)
}

fn nanos(duration: Duration) -> Nanos {
    duration.as_nanos() as Nanos
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    /// All that is kept of one torrent is announced again at times that are apart, however often.
    #[test]
    fn nodes_of_a_host_never_store_the_same_at_once() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut kept = Kept::default();
        let request = Request::Announce {
            info_hash: Id::MAX,
            port: None,
            is_seed: false,
        };
        for node in 0..100 {
            let key = (node, KeptKind::Peer, Id::MAX);
            kept.insert(0, key, &request, &mut rng).expect("room");
        }
        // Another torrent is nobody's concern.
        let key = (0, KeptKind::Peer, Id::ZERO);
        kept.insert(0, key, &request, &mut rng).expect("room");
        let mut times = Vec::new();
        for _ in 0..1_000 {
            let now = kept.due();
            let (keep, _) = kept.take_due(now, &mut rng).expect("it is due");
            if keep.0.2 == Id::MAX {
                times.push(now);
            }
            // What nobody took is tried again soon, and apart too.
            kept.stored(now, keep, u32::from(times.len() % 7 != 0));
        }
        assert!(times.len() > 900);
        let apart = times.windows(2).map(|two| two[1] - two[0]);
        assert!(apart.min() >= Some(SPACING), "{times:?}");
    }

    #[test]
    fn what_is_kept_comes_up_again_before_it_is_forgotten() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut kept = Kept::default();
        let request = Request::Announce {
            info_hash: Id::MAX,
            port: None,
            is_seed: false,
        };
        let key = (0, KeptKind::Peer, Id::MAX);
        let keep = kept.insert(0, key, &request, &mut rng);
        let keep = keep.expect("there is room");
        let interval = nanos(PEER_INTERVAL);
        let mut now = 0;
        for _ in 0..20 {
            let due = kept.due();
            assert!(due > now + interval * 8 / 10 && due <= now + interval);
            assert_eq!(kept.take_due(due - 1, &mut rng), None);
            now = due;
            let (taken, again) = kept.take_due(now, &mut rng).expect("it is due");
            assert_eq!((taken, &again), (keep, &request));
            kept.stored(now, keep, 8);
            assert_eq!(kept.status(now)[0].stored, Some(8));
        }
        kept.stored(now, keep, 0);
        assert_eq!(kept.due(), now + nanos(RETRY), "nobody took it");
        assert!(kept.remove(key) && !kept.remove(key));
        assert_eq!((kept.due(), kept.len()), (Nanos::MAX, 0));
    }

    #[test]
    fn what_is_kept_anew_is_not_dropped_by_the_end_of_what_was_before() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut kept = Kept::default();
        let request = Request::Announce {
            info_hash: Id::MAX,
            port: None,
            is_seed: false,
        };
        let key = (0, KeptKind::Peer, Id::MAX);
        let before = kept.insert(0, key, &request, &mut rng).expect("room");
        let after = kept.insert(0, key, &request, &mut rng).expect("room");
        kept.stored(0, before, 3);
        kept.drop_one(before);
        assert_eq!(kept.status(0)[0].stored, None, "it is not the one");
        kept.stored(0, after, 3);
        assert_eq!(kept.status(0)[0].stored, Some(3));
        kept.drop_one(after);
        assert_eq!(kept.len(), 0);
    }

    #[test]
    fn a_comparison_is_made_once() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut kept = Kept::default();
        let request = Request::Put(holdfast_kademlia::PutRequest {
            value: b"i1e".to_vec(),
            mutable: Some(holdfast_kademlia::SignedPut {
                key: [1; 32],
                salt: Vec::new(),
                sequence: 2,
                signature: [3; 64],
                cas: Some(1),
            }),
        });
        kept.insert(0, (0, KeptKind::Item, Id::ZERO), &request, &mut rng);
        let (_, again) = kept.take_due(Nanos::MAX / 2, &mut rng).expect("due");
        let Request::Put(put) = again else {
            panic!("another request");
        };
        assert_eq!(put.mutable.expect("mutable").cas, None);
    }
}
