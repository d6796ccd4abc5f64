use crate::{
    Compare, CompareWith, Comparison, Delete, KeyRange, KvCommand, KvError, KvOutcome, Put, Step,
    StepOutcome, Txn, budget::Budget,
};
use bytes::Bytes;
use holdfast_replica::{Command, CorruptSnapshot, StateMachine};
use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, io, sync::Arc};

/// Most bytes of keys and values that one range read inside a transaction returns: its answer is part of the
/// replicated outcome. What is beyond is left out, and the result says so.
pub const MAX_TXN_ANSWER_BYTES: usize = 1 << 20;

/// How far the keys of a range are counted beyond those that are returned.
pub const MAX_COUNTED: u64 = 10_000;

/// A key's version: what it was set to, and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The revision at which the key came to be.
    pub create_revision: u64,
    /// The revision that set this value.
    pub mod_revision: u64,
    /// How often the key was put since it came to be; 1 at first.
    pub version: u64,
}

/// A key's value and its age, without the key and the revision under which it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub value: Bytes,
    pub create_revision: u64,
    pub version: u64,
}

impl Stored {
    fn pair(&self, key: &Bytes, mod_revision: u64) -> KeyValue {
        KeyValue {
            key: key.clone(),
            value: self.value.clone(),
            create_revision: self.create_revision,
            mod_revision,
            version: self.version,
        }
    }
}

/// One key's change at some revision; `None` removed it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Change {
    pub key: Bytes,
    pub stored: Option<Stored>,
}

/// Where a key's versions are.
#[derive(Clone, Debug)]
struct Index {
    /// The revision of the last change.
    modified: u64,
    /// What that left; `None` for a deleted key whose past is still kept.
    stored: Option<Stored>,
    /// The revisions of the changes before, ascending, as far as they are kept.
    past: Vector<u64>,
}

/// What a watch or a subscriber sees of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was set.
    Put(KeyValue),
    /// The key was removed.
    Delete {
        /// Which.
        key: Bytes,
    },
}

/// Changes in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// Each revision that changed a watched key, with all its changes of watched keys.
    pub revisions: Vec<(u64, Vec<Event>)>,
    /// The revision to go on from: all events before it have been told.
    pub next: u64,
}

/// How much of a range is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLimits {
    /// At most so many pairs.
    pub keys: usize,
    /// At most so many bytes of keys and values; one pair is returned even if it has more.
    pub bytes: usize,
}

impl RangeLimits {
    /// Everything.
    pub const NONE: RangeLimits = RangeLimits {
        keys: usize::MAX,
        bytes: usize::MAX,
    };
}

/// What a range read found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeResult {
    /// The pairs, in the order of their keys.
    pub pairs: Vec<KeyValue>,
    /// How many keys there are in the range, whatever the limits. When a limit cut `pairs` short and this is
    /// [`MAX_COUNTED`] or more, there may be more keys than were counted.
    pub count: u64,
    /// Whether a limit cut `pairs` short.
    pub more: bool,
}

/// The store: every key's versions since the last compaction. Clones share what they have in common.
///
/// The empty store is at revision 1; the first change makes revision 2 (as in etcd).
#[derive(Clone, Debug)]
pub struct Kv {
    revision: u64,
    compact_revision: u64,
    live: u64,
    /// Every key that has a version: where it stands and where it stood.
    keys: OrdMap<Bytes, Index>,
    /// Every change that is kept, by its revision. Revisions below `compact_revision` lack what was superseded since.
    changes: OrdMap<u64, Arc<[Change]>>,
}

impl Default for Kv {
    fn default() -> Self {
        Kv {
            revision: 1,
            compact_revision: 1,
            live: 0,
            keys: OrdMap::new(),
            changes: OrdMap::new(),
        }
    }
}

impl Kv {
    /// An empty store.
    pub fn new() -> Self {
        Kv::default()
    }

    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The oldest revision that can be read, and watched from.
    pub fn compact_revision(&self) -> u64 {
        self.compact_revision
    }

    /// How many keys there are now.
    pub fn key_count(&self) -> u64 {
        self.live
    }

    /// A key's present version.
    pub fn get(&self, key: &[u8]) -> Option<KeyValue> {
        let (key, index) = self.keys.get_key_value(key)?;
        let stored = index.stored.as_ref()?;
        Some(stored.pair(key, index.modified))
    }

    /// A key's version as of `revision`.
    pub fn get_at(&self, key: &[u8], revision: u64) -> Result<Option<KeyValue>, KvError> {
        self.check_revision(revision)?;
        let Some((key, index)) = self.keys.get_key_value(key) else {
            return Ok(None);
        };
        Ok(self
            .version_at(key, index, revision)
            .map(|(stored, modified)| stored.pair(key, modified)))
    }

    /// The pairs in a range, as of `revision` or now.
    pub fn range(
        &self,
        range: &KeyRange,
        revision: Option<u64>,
        limits: RangeLimits,
    ) -> Result<RangeResult, KvError> {
        let revision = revision.unwrap_or(self.revision);
        self.check_revision(revision)?;
        self.versions(range, revision, limits, &mut Budget::unlimited())
    }

    fn versions(
        &self,
        range: &KeyRange,
        revision: u64,
        limits: RangeLimits,
        budget: &mut Budget,
    ) -> Result<RangeResult, KvError> {
        let mut result = RangeResult {
            pairs: Vec::new(),
            count: 0,
            more: false,
        };
        if range.is_empty() {
            return Ok(result);
        }
        let mut bytes = 0_usize;
        for (key, index) in self.keys.range::<_, Bytes>(range.bounds()) {
            if result.more && result.count >= MAX_COUNTED {
                break;
            }
            budget.look()?;
            let Some((stored, modified)) = self.version_at(key, index, revision) else {
                continue;
            };
            result.count += 1;
            bytes = bytes.saturating_add(key.len() + stored.value.len());
            let has_room = result.pairs.is_empty() || bytes <= limits.bytes;
            if !result.more && has_room && result.pairs.len() < limits.keys {
                let pair = stored.pair(key, modified);
                budget.tell(&pair)?;
                result.pairs.push(pair);
            } else {
                result.more = true;
            }
        }
        Ok(result)
    }

    /// What happened to the keys of a range at revision `from` and after it, up to about `limit` events (a revision is
    /// never split).
    pub fn events(&self, range: &KeyRange, from: u64, limit: usize) -> Result<Events, KvError> {
        let mut revisions: Vec<(u64, Vec<Event>)> = Vec::new();
        let next = self.tell(range, from, limit, |revision, change| {
            let event = match &change.stored {
                Some(stored) => Event::Put(stored.pair(&change.key, revision)),
                None => Event::Delete {
                    key: change.key.clone(),
                },
            };
            match revisions.last_mut() {
                Some((last, events)) if *last == revision => events.push(event),
                _ => revisions.push((revision, vec![event])),
            }
        })?;
        Ok(Events { revisions, next })
    }

    /// Tells of the same events one by one, without making anything of them: revision, key, and the value that it was
    /// set to (`None`: removed). Returns the revision to go on from.
    pub fn visit_events<'a>(
        &'a self,
        range: &KeyRange,
        from: u64,
        limit: usize,
        mut tell: impl FnMut(u64, &'a Bytes, Option<&'a Bytes>),
    ) -> Result<u64, KvError> {
        self.tell(range, from, limit, |revision, change| {
            let value = change.stored.as_ref().map(|stored| &stored.value);
            tell(revision, &change.key, value);
        })
    }

    fn tell<'a>(
        &'a self,
        range: &KeyRange,
        from: u64,
        limit: usize,
        mut tell: impl FnMut(u64, &'a Change),
    ) -> Result<u64, KvError> {
        if from < self.compact_revision {
            return Err(KvError::Compacted {
                asked: from,
                compact_revision: self.compact_revision,
            });
        }
        let mut told = 0;
        for (revision, changes) in self.changes.range(from..) {
            if told >= limit {
                return Ok(*revision);
            }
            for change in changes.iter().filter(|c| range.contains(&c.key)) {
                told += 1;
                tell(*revision, change);
            }
        }
        Ok(from.max(self.revision + 1))
    }

    /// Carries out a command: all of it, or nothing with [`KvOutcome::Refused`].
    pub fn execute(&mut self, command: &KvCommand) -> KvOutcome {
        let before = self.revision;
        self.try_execute(command)
            .unwrap_or_else(|error| KvOutcome::Refused {
                revision: before,
                error,
            })
    }

    fn try_execute(&mut self, command: &KvCommand) -> Result<KvOutcome, KvError> {
        command.check()?;
        let mut batch = Batch::new(self.revision + 1);
        match command {
            KvCommand::Put(put) => {
                let previous = self.put(put, &mut batch)?;
                Ok(KvOutcome::Put {
                    revision: self.commit(batch),
                    previous,
                })
            }
            KvCommand::Delete(delete) => {
                let (deleted, previous) = self.delete(delete, &mut batch)?;
                Ok(KvOutcome::Delete {
                    revision: self.commit(batch),
                    deleted,
                    previous,
                })
            }
            KvCommand::Txn(txn) => {
                let (succeeded, steps) = self.txn(txn, &mut batch)?;
                Ok(KvOutcome::Txn {
                    revision: self.commit(batch),
                    succeeded,
                    steps,
                })
            }
            KvCommand::Compact { revision } => {
                self.compact(*revision)?;
                Ok(KvOutcome::Compact {
                    revision: self.revision,
                    compact_revision: self.compact_revision,
                })
            }
        }
    }

    fn txn(&mut self, txn: &Txn, batch: &mut Batch) -> Result<(bool, Vec<StepOutcome>), KvError> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let steps = if succeeded {
            &txn.success
        } else {
            &txn.failure
        };
        // What the steps before one that is too much have done must not stay.
        let before = txn.may_exceed().then(|| self.clone());
        let outcomes: Result<_, KvError> =
            steps.iter().map(|step| self.step(step, batch)).collect();
        if outcomes.is_err() {
            *self = before.expect("what cannot exceed is not refused");
        }
        Ok((succeeded, outcomes?))
    }

    fn step(&mut self, step: &Step, batch: &mut Batch) -> Result<StepOutcome, KvError> {
        Ok(match step {
            Step::Put(put) => StepOutcome::Put {
                previous: self.put(put, batch)?,
            },
            Step::Delete(delete) => {
                let (deleted, previous) = self.delete(delete, batch)?;
                StepOutcome::Delete { deleted, previous }
            }
            Step::Range(read) => {
                let limits = RangeLimits {
                    keys: usize::try_from(read.limit).unwrap_or(usize::MAX),
                    bytes: MAX_TXN_ANSWER_BYTES,
                };
                // The index already stands where this transaction's earlier steps left it.
                let (revision, budget) = (batch.revision, &mut batch.budget);
                StepOutcome::Range(self.versions(&read.keys, revision, limits, budget)?)
            }
        })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let present = self
            .keys
            .get(&compare.key)
            .and_then(|index| Some((index.stored.as_ref()?, index.modified)));
        let (create, modified, version) = present.map_or((0, 0, 0), |(stored, modified)| {
            (stored.create_revision, modified, stored.version)
        });
        let ordering = match &compare.with {
            CompareWith::CreateRevision(given) => create.cmp(given),
            CompareWith::ModRevision(given) => modified.cmp(given),
            CompareWith::Version(given) => version.cmp(given),
            CompareWith::Value(given) => match present {
                Some((stored, _)) => stored.value.cmp(given),
                // No value relates to any, except that it is not equal to it.
                None => return compare.comparison == Comparison::NotEqual,
            },
        };
        match compare.comparison {
            Comparison::Equal => ordering == Ordering::Equal,
            Comparison::NotEqual => ordering != Ordering::Equal,
            Comparison::Greater => ordering == Ordering::Greater,
            Comparison::Less => ordering == Ordering::Less,
        }
    }

    fn put(&mut self, put: &Put, batch: &mut Batch) -> Result<Option<KeyValue>, KvError> {
        let previous = match put.return_previous {
            true => self.get(&put.key),
            false => None,
        };
        if let Some(previous) = &previous {
            batch.budget.tell(previous)?;
        }
        self.set(put, batch);
        Ok(previous)
    }

    fn set(&mut self, put: &Put, batch: &mut Batch) {
        let revision = batch.revision;
        let fresh = || Stored {
            value: put.value.clone(),
            create_revision: revision,
            version: 1,
        };
        let (stored, was_live) = match self.keys.get_mut(&put.key) {
            None => {
                let index = Index {
                    modified: revision,
                    stored: Some(fresh()),
                    past: Vector::new(),
                };
                let stored = index.stored.clone();
                self.keys.insert(put.key.clone(), index);
                (stored, false)
            }
            Some(index) => {
                let next = match &index.stored {
                    None => fresh(),
                    Some(old) => Stored {
                        value: put.value.clone(),
                        create_revision: old.create_revision,
                        version: old.version + 1,
                    },
                };
                index.past.push_back(index.modified);
                index.modified = revision;
                let old = index.stored.replace(next.clone());
                (Some(next), old.is_some())
            }
        };
        if !was_live {
            self.live += 1;
        }
        batch.changes.push(Change {
            key: put.key.clone(),
            stored,
        });
    }

    /// Deletes all keys of a range, or none when they are too many.
    fn delete(
        &mut self,
        delete: &Delete,
        batch: &mut Batch,
    ) -> Result<(u64, Vec<KeyValue>), KvError> {
        if delete.keys.is_empty() {
            return Ok((0, Vec::new()));
        }
        let mut doomed = Vec::new();
        let mut previous = Vec::new();
        for (key, index) in self.keys.range::<_, Bytes>(delete.keys.bounds()) {
            batch.budget.look()?;
            let Some(stored) = &index.stored else {
                continue;
            };
            batch.budget.delete(key)?;
            doomed.push(key.clone());
            if delete.return_previous {
                let pair = stored.pair(key, index.modified);
                batch.budget.tell(&pair)?;
                previous.push(pair);
            }
        }
        for key in &doomed {
            let index = self.keys.get_mut(key).expect("it was just there");
            index.stored = None;
            index.past.push_back(index.modified);
            index.modified = batch.revision;
            batch.changes.push(Change {
                key: key.clone(),
                stored: None,
            });
        }
        self.live -= doomed.len() as u64;
        Ok((doomed.len() as u64, previous))
    }

    /// Makes a batch's changes the store's next revision, if there are any; the revision then.
    fn commit(&mut self, batch: Batch) -> u64 {
        if !batch.changes.is_empty() {
            self.revision = batch.revision;
            self.changes.insert(batch.revision, batch.changes.into());
        }
        self.revision
    }

    fn compact(&mut self, revision: u64) -> Result<(), KvError> {
        if revision > self.revision {
            return Err(KvError::Future {
                asked: revision,
                revision: self.revision,
            });
        }
        if revision <= self.compact_revision {
            return Err(KvError::Compacted {
                asked: revision,
                compact_revision: self.compact_revision,
            });
        }
        self.compact_revision = revision;
        let old: Vec<(u64, Arc<[Change]>)> = self
            .changes
            .range(..revision)
            .map(|(at, changes)| (*at, changes.clone()))
            .collect();
        for (at, changes) in old {
            let kept: Vec<Change> = changes
                .iter()
                .filter(|change| self.outlives(change, at))
                .cloned()
                .collect();
            if kept.is_empty() {
                self.changes.remove(&at);
            } else if kept.len() < changes.len() {
                self.changes.insert(at, kept.into());
            }
        }
        Ok(())
    }

    /// Whether a change of revision `at`, below the compaction's, is still what a readable revision shows. If not, it
    /// is dropped from its key's index; changes come here in ascending order.
    fn outlives(&mut self, change: &Change, at: u64) -> bool {
        let index = self
            .keys
            .get(&change.key)
            .expect("a kept change has an index");
        let oldest = index.past.front().copied().unwrap_or(index.modified);
        assert_eq!(oldest, at, "changes and index name the same versions");
        let next = match index.past.len() {
            0 => None,
            1 => Some(index.modified),
            _ => index.past.get(1).copied(),
        };
        let is_superseded = next.is_some_and(|next| next <= self.compact_revision);
        if !is_superseded && change.stored.is_some() {
            return true;
        }
        if next.is_none() {
            self.keys.remove(&change.key);
        } else {
            let index = self.keys.get_mut(&change.key).expect("it was just there");
            index.past.pop_front();
        }
        false
    }

    fn check_revision(&self, revision: u64) -> Result<(), KvError> {
        if revision > self.revision {
            return Err(KvError::Future {
                asked: revision,
                revision: self.revision,
            });
        }
        if revision < self.compact_revision {
            return Err(KvError::Compacted {
                asked: revision,
                compact_revision: self.compact_revision,
            });
        }
        Ok(())
    }

    fn version_at<'a>(
        &'a self,
        key: &Bytes,
        index: &'a Index,
        revision: u64,
    ) -> Option<(&'a Stored, u64)> {
        if index.modified <= revision {
            return index.stored.as_ref().map(|stored| (stored, index.modified));
        }
        let newer = match index.past.binary_search(&revision) {
            Ok(exact) => exact + 1,
            Err(place) => place,
        };
        let at = *index.past.get(newer.checked_sub(1)?)?;
        let changes = self.changes.get(&at).expect("an indexed version is kept");
        let change = changes.iter().find(|change| change.key == *key);
        let stored = &change.expect("an indexed version is kept").stored;
        stored.as_ref().map(|stored| (stored, at))
    }

    /// Everything from which the store can be made again: revision, compaction revision, changes in order.
    pub(crate) fn parts(&self) -> (u64, u64, impl Iterator<Item = (u64, &[Change])>) {
        let changes = self.changes.iter().map(|(at, changes)| (*at, &changes[..]));
        (self.revision, self.compact_revision, changes)
    }

    /// A store at `revision` without any change yet; [`restore`](Kv::restore) adds them.
    pub(crate) fn with_revisions(revision: u64, compact_revision: u64) -> Self {
        Kv {
            revision,
            compact_revision,
            ..Kv::default()
        }
    }

    /// Adds a revision's changes, later than all added before.
    pub(crate) fn restore(&mut self, at: u64, changes: Vec<Change>) {
        for change in &changes {
            let was_live = match self.keys.get_mut(&change.key) {
                None => {
                    let index = Index {
                        modified: at,
                        stored: change.stored.clone(),
                        past: Vector::new(),
                    };
                    self.keys.insert(change.key.clone(), index);
                    false
                }
                Some(index) => {
                    index.past.push_back(index.modified);
                    index.modified = at;
                    let old = std::mem::replace(&mut index.stored, change.stored.clone());
                    old.is_some()
                }
            };
            self.live += u64::from(change.stored.is_some());
            self.live -= u64::from(was_live);
        }
        self.changes.insert(at, changes.into());
    }
}

/// The changes of one revision in the making, and what its command may still cost. The index is changed as steps go.
struct Batch {
    revision: u64,
    changes: Vec<Change>,
    budget: Budget,
}

impl Batch {
    fn new(revision: u64) -> Self {
        Batch {
            revision,
            changes: Vec::new(),
            budget: Budget::of_command(),
        }
    }
}

impl StateMachine for Kv {
    fn apply(&mut self, command: Command<'_>) -> Bytes {
        let outcome = match KvCommand::decode(command.payload) {
            Some(command) => self.execute(&command),
            None => KvOutcome::Refused {
                revision: self.revision,
                error: KvError::Malformed,
            },
        };
        outcome.encode()
    }

    fn digest(&self) -> u64 {
        crate::snapshot::digest(self)
    }

    fn write_snapshot(&self, sink: &mut dyn io::Write) -> io::Result<()> {
        crate::snapshot::write(self, sink)
    }

    fn read_snapshot(&self, source: &mut dyn io::Read) -> Result<Self, CorruptSnapshot> {
        crate::snapshot::read(source)
    }
}
