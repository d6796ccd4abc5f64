use crate::{KeyRange, KeyValue, RangeResult};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Largest key, in bytes. A limit of the replicated state: the same on every node, whatever a node is told to accept.
pub const MAX_KEY_BYTES: usize = 64 << 10;
/// Largest value, in bytes; likewise.
pub const MAX_VALUE_BYTES: usize = 4 << 20;
/// Most comparisons, and most steps in either branch, of a transaction; likewise (etcd's default is 128).
pub const MAX_TXN_STEPS: usize = 1024;

/// Most keys that one command's range reads and range deletions look at together, deleted ones that are still kept
/// among them; likewise. Every replica carries a command out while all others wait.
pub const MAX_COMMAND_KEYS: u64 = 100_000;
/// Most bytes of keys and values in one command's outcome; likewise.
pub const MAX_OUTCOME_BYTES: u64 = 8 << 20;
/// Most bytes of keys that one command deletes; likewise. Who watches is told all of a revision's changes at once.
pub const MAX_DELETED_BYTES: u64 = 4 << 20;

/// What changes the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvCommand {
    /// Sets a key.
    Put(Put),
    /// Removes keys.
    Delete(Delete),
    /// Several steps at one revision, under a condition.
    Txn(Txn),
    /// Forgets what was before a revision.
    Compact {
        /// The oldest revision that stays readable.
        revision: u64,
    },
}

impl KvCommand {
    /// As it stands in a log.
    pub fn encode(&self) -> Bytes {
        postcard::to_stdvec(self).expect("commands encode").into()
    }

    /// What [`encode`](KvCommand::encode) wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (command, rest) = postcard::take_from_bytes(bytes).ok()?;
        rest.is_empty().then_some(command)
    }
}

/// Sets a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Which.
    pub key: Bytes,
    /// To what.
    pub value: Bytes,
    /// Whether the outcome tells what was there before.
    pub return_previous: bool,
}

/// Removes keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Which.
    pub keys: KeyRange,
    /// Whether the outcome tells what was there.
    pub return_previous: bool,
}

/// Reads keys in the middle of a transaction, which sees what its earlier steps did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeRead {
    /// Which.
    pub keys: KeyRange,
    /// At most so many.
    pub limit: u64,
}

/// When all comparisons hold does `success`, else `failure`; all steps or none, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// What must hold.
    pub compare: Vec<Compare>,
    /// What to do when it does.
    pub success: Vec<Step>,
    /// What to do when it does not.
    pub failure: Vec<Step>,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Sets a key.
    Put(Put),
    /// Removes keys.
    Delete(Delete),
    /// Reads keys.
    Range(RangeRead),
}

/// One comparison of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// Of which key. One that is not there has revisions and version 0, and differs from every value.
    pub key: Bytes,
    /// How what is there must relate to `with`.
    pub comparison: Comparison,
    /// What it is compared with.
    pub with: CompareWith,
}

/// How the present side of a comparison must relate to the given side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Greater.
    Greater,
    /// Less.
    Less,
}

/// The given side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareWith {
    /// The revision at which the key came to be.
    CreateRevision(u64),
    /// The revision of its last change.
    ModRevision(u64),
    /// How often it was put since it came to be.
    Version(u64),
    /// Its value.
    Value(Bytes),
}

/// What a command led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvOutcome {
    /// Of [`KvCommand::Put`].
    Put {
        /// The store's revision after it.
        revision: u64,
        /// What was there before, if it was asked for and there was something.
        previous: Option<KeyValue>,
    },
    /// Of [`KvCommand::Delete`].
    Delete {
        /// The store's revision after it; no higher than before when there was nothing to delete.
        revision: u64,
        /// How many keys there were.
        deleted: u64,
        /// They, if they were asked for.
        previous: Vec<KeyValue>,
    },
    /// Of [`KvCommand::Txn`].
    Txn {
        /// The store's revision after it; no higher than before when nothing changed.
        revision: u64,
        /// Whether the comparisons held.
        succeeded: bool,
        /// One for each step of the branch taken.
        steps: Vec<StepOutcome>,
    },
    /// Of [`KvCommand::Compact`].
    Compact {
        /// The store's revision.
        revision: u64,
        /// The oldest revision that is still readable.
        compact_revision: u64,
    },
    /// Nothing was done.
    Refused {
        /// The store's revision.
        revision: u64,
        /// Why.
        error: KvError,
    },
}

impl KvOutcome {
    /// As a replica hands it to the proposer.
    pub fn encode(&self) -> Bytes {
        postcard::to_stdvec(self).expect("outcomes encode").into()
    }

    /// What [`encode`](KvOutcome::encode) wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (outcome, rest) = postcard::take_from_bytes(bytes).ok()?;
        rest.is_empty().then_some(outcome)
    }

    /// The store's revision after the command.
    pub fn revision(&self) -> u64 {
        match self {
            KvOutcome::Put { revision, .. }
            | KvOutcome::Delete { revision, .. }
            | KvOutcome::Txn { revision, .. }
            | KvOutcome::Compact { revision, .. }
            | KvOutcome::Refused { revision, .. } => *revision,
        }
    }
}

/// What one step of a transaction led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepOutcome {
    /// Of [`Step::Put`].
    Put {
        /// What was there before, if it was asked for and there was something.
        previous: Option<KeyValue>,
    },
    /// Of [`Step::Delete`].
    Delete {
        /// How many keys there were.
        deleted: u64,
        /// They, if they were asked for.
        previous: Vec<KeyValue>,
    },
    /// Of [`Step::Range`].
    Range(RangeResult),
}

/// Why a command or a read is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum KvError {
    /// The bytes are no command; nobody who uses this crate writes such.
    #[error("the command does not decode")]
    Malformed,
    /// A key without bytes.
    #[error("a key has at least one byte")]
    EmptyKey,
    /// Longer than [`MAX_KEY_BYTES`].
    #[error("the key has {0} bytes; at most {MAX_KEY_BYTES} are accepted")]
    KeyTooLarge(u64),
    /// Longer than [`MAX_VALUE_BYTES`].
    #[error("the value has {0} bytes; at most {MAX_VALUE_BYTES} are accepted")]
    ValueTooLarge(u64),
    /// More than [`MAX_TXN_STEPS`] comparisons, or steps in a branch.
    #[error("the transaction has {0} steps; at most {MAX_TXN_STEPS} are accepted")]
    TooManySteps(u64),
    /// A branch would change a key twice, at one revision.
    #[error("the transaction changes the key {} twice", .0.escape_ascii())]
    DuplicateKey(Bytes),
    /// The revision has been compacted away.
    #[error("revision {asked} has been compacted; the oldest that is kept is {compact_revision}")]
    Compacted {
        /// What was asked for.
        asked: u64,
        /// The oldest revision that is readable.
        compact_revision: u64,
    },
    /// There is no such revision yet.
    #[error("revision {asked} is in the future; the newest is {revision}")]
    Future {
        /// What was asked for.
        asked: u64,
        /// The store's revision.
        revision: u64,
    },
    /// More than [`MAX_COMMAND_KEYS`].
    #[error("the command looks at more than {MAX_COMMAND_KEYS} keys; take smaller ranges")]
    TooManyKeys,
    /// More than [`MAX_OUTCOME_BYTES`].
    #[error(
        "the command's outcome has more than {MAX_OUTCOME_BYTES} bytes; read less, or do not ask for what was before"
    )]
    OutcomeTooLarge,
    /// More than [`MAX_DELETED_BYTES`].
    #[error("the command deletes keys of more than {MAX_DELETED_BYTES} bytes; take smaller ranges")]
    DeletesTooMuch,
}

impl KvCommand {
    /// Whether the command is well formed, whatever the store holds. [`Kv`](crate::Kv) refuses what is not; a server
    /// asks before it replicates.
    pub fn check(&self) -> Result<(), KvError> {
        match self {
            KvCommand::Put(put) => put.check(),
            KvCommand::Delete(delete) => check_range(&delete.keys),
            KvCommand::Txn(txn) => txn.check(),
            KvCommand::Compact { .. } => Ok(()),
        }
    }
}

impl Put {
    fn check(&self) -> Result<(), KvError> {
        check_key(&self.key)?;
        if self.value.len() > MAX_VALUE_BYTES {
            return Err(KvError::ValueTooLarge(self.value.len() as u64));
        }
        Ok(())
    }
}

impl Txn {
    /// Whether what it costs depends on what the store holds, so that it may turn out to be too much.
    pub(crate) fn may_exceed(&self) -> bool {
        let steps = self.success.iter().chain(&self.failure);
        let mut costly = steps.filter(|step| match step {
            Step::Put(put) => put.return_previous,
            Step::Delete(_) | Step::Range(_) => true,
        });
        costly.next().is_some()
    }

    fn check(&self) -> Result<(), KvError> {
        for len in [self.compare.len(), self.success.len(), self.failure.len()] {
            if len > MAX_TXN_STEPS {
                return Err(KvError::TooManySteps(len as u64));
            }
        }
        self.compare.iter().try_for_each(|c| check_key(&c.key))?;
        check_branch(&self.success)?;
        check_branch(&self.failure)
    }
}

/// A key changes at most once at one revision, so that a revision and a key name one version (as in etcd). Two
/// deletions may overlap: the later finds nothing.
fn check_branch(steps: &[Step]) -> Result<(), KvError> {
    let mut puts = std::collections::BTreeSet::new();
    for step in steps {
        match step {
            Step::Put(put) => {
                put.check()?;
                if !puts.insert(&put.key) {
                    return Err(KvError::DuplicateKey(put.key.clone()));
                }
            }
            Step::Delete(delete) => check_range(&delete.keys)?,
            Step::Range(read) => check_range(&read.keys)?,
        }
    }
    for step in steps {
        if let Step::Delete(Delete { keys, .. }) = step
            && !keys.is_empty()
            && let Some(key) = puts.range::<Bytes, _>(keys.bounds()).next()
        {
            return Err(KvError::DuplicateKey((*key).clone()));
        }
    }
    Ok(())
}

fn check_key(key: &Bytes) -> Result<(), KvError> {
    match key.len() {
        0 => Err(KvError::EmptyKey),
        len if len > MAX_KEY_BYTES => Err(KvError::KeyTooLarge(len as u64)),
        _ => Ok(()),
    }
}

/// A range's ends may be one byte longer than the longest key: the successor of that.
fn check_range(range: &KeyRange) -> Result<(), KvError> {
    let longest = range.start().len().max(range.end().map_or(0, Bytes::len));
    if longest > MAX_KEY_BYTES + 1 {
        return Err(KvError::KeyTooLarge(longest as u64));
    }
    Ok(())
}
