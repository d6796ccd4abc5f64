//! The model: for each revision the whole map, and what changed. Slow, and plainly right.

use bytes::Bytes;
use holdfast_kv::{
    Compare, CompareWith, Comparison, Delete, Event, KeyRange, KeyValue, KvCommand, KvError,
    KvOutcome, Put, RangeResult, Step, StepOutcome, Txn,
};
use std::collections::BTreeMap;

type Map = BTreeMap<Bytes, KeyValue>;

#[derive(Clone)]
pub struct Model {
    /// The content as of each revision; there is nothing at 0 and 1.
    history: Vec<Map>,
    /// What each revision changed.
    changes: Vec<Vec<Event>>,
    compacted: u64,
}

/// A revision in the making.
struct Draft {
    revision: u64,
    map: Map,
    events: Vec<Event>,
}

impl Model {
    pub fn new() -> Self {
        Model {
            history: vec![Map::new(); 2],
            changes: vec![Vec::new(); 2],
            compacted: 1,
        }
    }

    pub fn revision(&self) -> u64 {
        self.history.len() as u64 - 1
    }

    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    pub fn now(&self) -> &Map {
        self.history.last().expect("never empty")
    }

    /// The map as of a revision that can be read, else which error there must be.
    pub fn at(&self, revision: u64) -> Result<&Map, KvError> {
        if revision > self.revision() {
            Err(KvError::Future {
                asked: revision,
                revision: self.revision(),
            })
        } else {
            self.kept(revision)?;
            Ok(&self.history[revision as usize])
        }
    }

    fn kept(&self, revision: u64) -> Result<(), KvError> {
        match revision < self.compacted {
            true => Err(KvError::Compacted {
                asked: revision,
                compact_revision: self.compacted,
            }),
            false => Ok(()),
        }
    }

    /// The changes of keys in a range from a revision on.
    pub fn events(&self, range: &KeyRange, from: u64) -> Result<Vec<(u64, Vec<Event>)>, KvError> {
        self.kept(from)?;
        let revisions = from..=self.revision();
        let told = revisions.map(|revision| {
            let all = self.changes[revision as usize].iter();
            let watched = all.filter(|event| range.contains(key_of(event)));
            (revision, watched.cloned().collect::<Vec<_>>())
        });
        Ok(told.filter(|(_, events)| !events.is_empty()).collect())
    }

    pub fn execute(&mut self, command: &KvCommand) -> KvOutcome {
        match self.try_execute(command) {
            Ok(outcome) => outcome,
            Err(error) => KvOutcome::Refused {
                revision: self.revision(),
                error,
            },
        }
    }

    fn try_execute(&mut self, command: &KvCommand) -> Result<KvOutcome, KvError> {
        let mut draft = Draft {
            revision: self.revision() + 1,
            map: self.now().clone(),
            events: Vec::new(),
        };
        match command {
            KvCommand::Put(put) => {
                check_key(&put.key)?;
                let previous = draft.put(put);
                let revision = self.adopt(draft);
                Ok(KvOutcome::Put { revision, previous })
            }
            KvCommand::Delete(delete) => {
                let (deleted, previous) = draft.delete(delete);
                Ok(KvOutcome::Delete {
                    revision: self.adopt(draft),
                    deleted,
                    previous,
                })
            }
            KvCommand::Txn(txn) => {
                check_txn(txn)?;
                let succeeded = txn.compare.iter().all(|compare| draft.holds(compare));
                let branch = if succeeded {
                    &txn.success
                } else {
                    &txn.failure
                };
                let steps = branch.iter().map(|step| draft.step(step)).collect();
                Ok(KvOutcome::Txn {
                    revision: self.adopt(draft),
                    succeeded,
                    steps,
                })
            }
            KvCommand::Compact { revision } => {
                self.at(*revision)?;
                if *revision == self.compacted {
                    return Err(KvError::Compacted {
                        asked: *revision,
                        compact_revision: self.compacted,
                    });
                }
                self.compacted = *revision;
                Ok(KvOutcome::Compact {
                    revision: self.revision(),
                    compact_revision: self.compacted,
                })
            }
        }
    }

    /// A draft that changed nothing makes no revision.
    fn adopt(&mut self, draft: Draft) -> u64 {
        if !draft.events.is_empty() {
            self.history.push(draft.map);
            self.changes.push(draft.events);
        }
        self.revision()
    }
}

impl Draft {
    fn put(&mut self, put: &Put) -> Option<KeyValue> {
        let old = self.map.get(&put.key).cloned();
        let new = KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: old
                .as_ref()
                .map_or(self.revision, |old| old.create_revision),
            mod_revision: self.revision,
            version: old.as_ref().map_or(1, |old| old.version + 1),
        };
        self.map.insert(put.key.clone(), new.clone());
        self.events.push(Event::Put(new));
        old.filter(|_| put.return_previous)
    }

    fn delete(&mut self, delete: &Delete) -> (u64, Vec<KeyValue>) {
        let mut gone = in_range(&self.map, &delete.keys);
        for pair in &gone {
            self.map.remove(&pair.key);
            let key = pair.key.clone();
            self.events.push(Event::Delete { key });
        }
        let count = gone.len() as u64;
        if !delete.return_previous {
            gone.clear();
        }
        (count, gone)
    }

    fn step(&mut self, step: &Step) -> StepOutcome {
        match step {
            Step::Put(put) => StepOutcome::Put {
                previous: self.put(put),
            },
            Step::Delete(delete) => {
                let (deleted, previous) = self.delete(delete);
                StepOutcome::Delete { deleted, previous }
            }
            Step::Range(read) => {
                let pairs = in_range(&self.map, &read.keys);
                StepOutcome::Range(limited(pairs, read.limit as usize))
            }
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let found = self.map.get(&compare.key);
        let (left, right) = match &compare.with {
            CompareWith::CreateRevision(with) => (found.map_or(0, |p| p.create_revision), *with),
            CompareWith::ModRevision(with) => (found.map_or(0, |p| p.mod_revision), *with),
            CompareWith::Version(with) => (found.map_or(0, |p| p.version), *with),
            CompareWith::Value(with) => {
                return match found {
                    Some(pair) => relates(&pair.value, compare.comparison, with),
                    None => compare.comparison == Comparison::NotEqual,
                };
            }
        };
        relates(&left, compare.comparison, &right)
    }
}

fn relates<T: Ord>(left: &T, comparison: Comparison, right: &T) -> bool {
    match comparison {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Greater => left > right,
        Comparison::Less => left < right,
    }
}

fn key_of(event: &Event) -> &Bytes {
    match event {
        Event::Put(pair) => &pair.key,
        Event::Delete { key } => key,
    }
}

pub fn in_range(map: &Map, range: &KeyRange) -> Vec<KeyValue> {
    let pairs = map.values();
    pairs
        .filter(|pair| range.contains(&pair.key))
        .cloned()
        .collect()
}

/// What a read of `pairs` with a limit returns.
pub fn limited(mut pairs: Vec<KeyValue>, limit: usize) -> RangeResult {
    let count = pairs.len() as u64;
    pairs.truncate(limit);
    RangeResult {
        more: (pairs.len() as u64) < count,
        pairs,
        count,
    }
}

fn check_key(key: &Bytes) -> Result<(), KvError> {
    match key.is_empty() {
        true => Err(KvError::EmptyKey),
        false => Ok(()),
    }
}

/// Names some key that a branch changes twice; the store may name another one.
fn check_txn(txn: &Txn) -> Result<(), KvError> {
    for compare in &txn.compare {
        check_key(&compare.key)?;
    }
    for branch in [&txn.success, &txn.failure] {
        for (at, step) in branch.iter().enumerate() {
            let Step::Put(put) = step else { continue };
            check_key(&put.key)?;
            let again = branch
                .iter()
                .enumerate()
                .any(|(other, step)| other != at && changes(step, &put.key));
            if again {
                return Err(KvError::DuplicateKey(put.key.clone()));
            }
        }
    }
    Ok(())
}

fn changes(step: &Step, key: &Bytes) -> bool {
    match step {
        Step::Put(put) => put.key == *key,
        Step::Delete(delete) => delete.keys.contains(key),
        Step::Range(_) => false,
    }
}

/// Whether two outcomes say the same. A malformed transaction may be wrong in several ways, of which one is told.
pub fn agree(store: &KvOutcome, model: &KvOutcome) -> bool {
    let malformed = |error: &KvError| matches!(error, KvError::EmptyKey | KvError::DuplicateKey(_));
    match (store, model) {
        (
            KvOutcome::Refused {
                revision: a,
                error: x,
            },
            KvOutcome::Refused {
                revision: b,
                error: y,
            },
        ) if malformed(x) && malformed(y) => a == b,
        _ => store == model,
    }
}
