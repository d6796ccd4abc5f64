//! What the clients of `raft-kv` ask: puts, gets, compare-and-sets, deletes and range reads over a handful of keys, so
//! that operations meet; and the translation between that and what the store speaks.

use bytes::Bytes;
use holdfast_kv::{
    Compare, CompareWith, Comparison, Delete, KeyRange, KeyValue, Kv, KvCommand, KvOutcome, Put,
    RangeLimits, Step, StepOutcome, Txn,
};
use holdfast_replica::Outcome;
use holdfast_sim::{
    check::kv::{Answer, Body, Call, Change, Found, Key, Value},
    draw::{Domain, Draws},
};
use std::collections::BTreeMap;

/// Digits of a key, and of a value. Every call of every client in every seed is written and read in this form, so none
/// of the four functions below formats or allocates more than it must.
const KEY_DIGITS: usize = 4;
const VALUE_DIGITS: usize = 16;

/// The bytes of a key: `key-0007`.
pub fn key_bytes(key: Key) -> Bytes {
    let mut bytes = *b"key-0000";
    write_digits(u64::from(key), &mut bytes[4..]);
    Bytes::copy_from_slice(&bytes)
}

/// The key of some bytes; `None` for one that no client of this scenario writes.
pub fn key_number(bytes: &[u8]) -> Option<Key> {
    let digits = bytes.strip_prefix(b"key-")?;
    let key = read_digits(digits).filter(|_| digits.len() == KEY_DIGITS)?;
    Key::try_from(key).ok()
}

/// The bytes of a value: its number in decimal.
pub fn value_bytes(value: Value) -> Bytes {
    let mut bytes = [0; VALUE_DIGITS];
    write_digits(value, &mut bytes);
    Bytes::copy_from_slice(&bytes)
}

/// The value of some bytes.
pub fn value_number(bytes: &[u8]) -> Option<Value> {
    read_digits(bytes).filter(|_| bytes.len() == VALUE_DIGITS)
}

fn write_digits(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    assert_eq!(number, 0, "it has room");
}

fn read_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

/// Draws one client's calls. Values are unique over all clients; compare-and-sets expect what the client last saw.
#[derive(Clone, Debug)]
pub struct Generator {
    client: u32,
    keys: u32,
    written: u64,
    seen: BTreeMap<Key, u64>,
    draws: Draws,
}

impl Generator {
    /// The calls of `client`, over keys `0..keys`.
    pub fn new(seed: u64, client: u32, keys: u32) -> Self {
        Generator {
            client,
            keys,
            written: 0,
            seen: BTreeMap::new(),
            draws: Draws::new(seed, Domain::Workload, u64::from(client)),
        }
    }

    /// The next call.
    pub fn call(&mut self) -> Call {
        let key = self.draws.range(0, u64::from(self.keys)) as Key;
        match self.draws.range(0, 100) {
            0..35 => Call::Put {
                key,
                value: self.value(),
            },
            35..65 => Call::Get { key },
            65..85 => Call::CompareAndSet {
                key,
                expected: self.seen.get(&key).copied().unwrap_or(0),
                value: self.value(),
            },
            85..90 => Call::Delete { key },
            _ => {
                let to = key + 1 + self.draws.range(0, u64::from(self.keys)) as Key;
                Call::Range { from: key, to }
            }
        }
    }

    fn value(&mut self) -> Value {
        self.written += 1;
        u64::from(self.client + 1) * 1_000_000 + self.written
    }

    /// Nanoseconds to wait before the next call, `mean` on average.
    pub fn pause(&mut self, mean: u64) -> u64 {
        self.draws.exponential(mean)
    }

    /// Learns from an answer what to expect next time.
    pub fn learn(&mut self, call: &Call, answer: &Answer) {
        match (call, &answer.body) {
            (Call::Put { key, .. }, Body::Put)
            | (Call::CompareAndSet { key, .. }, Body::CompareAndSet(true)) => {
                self.seen.insert(*key, answer.revision);
            }
            (Call::Delete { key }, Body::Deleted(_)) => {
                self.seen.remove(key);
            }
            (Call::Get { key }, Body::Read(found)) if found.is_empty() => {
                self.seen.remove(key);
            }
            (_, Body::Read(found)) => {
                for f in found {
                    self.seen.insert(f.key, f.modified);
                }
            }
            _ => {}
        }
    }

    /// Draws something that is not a call.
    pub fn draws(&mut self) -> &mut Draws {
        &mut self.draws
    }
}

/// Whether a call goes through the log.
pub fn is_command(call: &Call) -> bool {
    !matches!(call, Call::Get { .. } | Call::Range { .. })
}

/// The command that carries a call out; `None` for a read.
pub fn command(call: &Call) -> Option<KvCommand> {
    let put = |key: &Key, value: &Value| Put {
        key: key_bytes(*key),
        value: value_bytes(*value),
        return_previous: false,
    };
    match call {
        Call::Put { key, value } => Some(KvCommand::Put(put(key, value))),
        Call::Delete { key } => Some(KvCommand::Delete(Delete {
            keys: KeyRange::key(key_bytes(*key)),
            return_previous: false,
        })),
        Call::CompareAndSet {
            key,
            expected,
            value,
        } => Some(KvCommand::Txn(Txn {
            compare: vec![Compare {
                key: key_bytes(*key),
                comparison: Comparison::Equal,
                with: CompareWith::ModRevision(*expected),
            }],
            success: vec![Step::Put(put(key, value))],
            failure: Vec::new(),
        })),
        Call::Get { .. } | Call::Range { .. } => None,
    }
}

/// Serves a read.
pub fn read(machine: &Kv, call: &Call) -> Answer {
    let range = match call {
        Call::Get { key } => KeyRange::key(key_bytes(*key)),
        Call::Range { from, to } => KeyRange::between(key_bytes(*from), key_bytes(*to)),
        other => unreachable!("{other:?} goes through the log"),
    };
    let result = machine.range(&range, None, RangeLimits::NONE);
    let pairs = result.expect("the present is readable").pairs;
    Answer {
        revision: machine.revision(),
        body: Body::Read(pairs.iter().map(found).collect()),
    }
}

/// The store's outcome in what a replica answers; `None` when the command was not carried out by this proposal or an
/// earlier one of its call, which a client of this scenario never brings about.
pub fn outcome(outcome: &Outcome) -> Option<KvOutcome> {
    match outcome {
        Outcome::Applied(bytes) | Outcome::Duplicate(bytes) => KvOutcome::decode(bytes),
        Outcome::NotKept
        | Outcome::StaleSequence
        | Outcome::SequenceReused
        | Outcome::UnknownSession => None,
    }
}

/// What a client makes of the outcome of its call; `None` when it belongs to another.
pub fn answer(call: &Call, outcome: &KvOutcome) -> Option<Answer> {
    let body = match (call, outcome) {
        (Call::Put { .. }, KvOutcome::Put { .. }) => Body::Put,
        (Call::Delete { .. }, KvOutcome::Delete { deleted, .. }) => Body::Deleted(*deleted == 1),
        (
            Call::CompareAndSet { .. },
            KvOutcome::Txn {
                succeeded, steps, ..
            },
        ) => match (succeeded, steps.as_slice()) {
            (true, [StepOutcome::Put { .. }]) => Body::CompareAndSet(true),
            (false, []) => Body::CompareAndSet(false),
            _ => return None,
        },
        _ => return None,
    };
    Some(Answer {
        revision: outcome.revision(),
        body,
    })
}

/// An event as the history's checkers know it.
pub fn change(revision: u64, key: &[u8], value: Option<&Bytes>) -> Change {
    Change {
        revision,
        key: key_number(key).expect("a key of this scenario"),
        value: value.map(|value| value_number(value).expect("a value of this scenario")),
    }
}

fn found(pair: &KeyValue) -> Found {
    Found {
        key: key_number(&pair.key).expect("a key of this scenario"),
        value: value_of(pair),
        modified: pair.mod_revision,
    }
}

fn value_of(pair: &KeyValue) -> Value {
    value_number(&pair.value).expect("a value of this scenario")
}
