//! Clients that put, get, compare-and-set, delete and read ranges over few keys, and the record of what they were told.

use crate::cluster::wait_for;
use holdfast_host::{Host, Moment};
use holdfast_node::{
    client::{Client, ClientConfig, ClientError, Condition, RangeQuery},
    http::ProblemKind,
    wire::{
        Compare, CompareTarget, Key, KeySet, KeyValue, Operator, TxnOp, TxnPut, TxnRequest, Value,
    },
};
use holdfast_scenarios::raft_kv::workload::{
    Generator, is_command, key_bytes, key_number, value_bytes, value_number,
};
use holdfast_sim::check::kv::{Answer, Body, Call, Found, Operation};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Half of them have sessions and try again until they know the outcome; the others make one attempt a call.
const CLIENTS: u32 = 8;
/// Few, so that operations meet.
const KEYS: u32 = 5;
/// Mean pause of a client between two calls.
const PAUSE: Duration = Duration::from_millis(5);
/// What calls and pauses are drawn from.
const SEED: u64 = 1;

/// The history, in the order of returns. All times are those of one host's monotonic clock.
#[derive(Default)]
pub struct Recorder {
    operations: Mutex<Vec<Operation>>,
}

impl Recorder {
    /// Operations recorded up to now.
    pub fn len(&self) -> usize {
        self.operations.lock().expect("nobody panicked").len()
    }

    /// When the first write was acknowledged that was called after `moment`; what was recorded before operation
    /// `from` is not looked at.
    pub fn first_write(&self, from: usize, moment: Moment) -> Option<Moment> {
        let operations = self.operations.lock().expect("nobody panicked");
        let mut later = operations[from..]
            .iter()
            .filter(|operation| operation.called > moment.as_nanos());
        later.find_map(|operation| match &operation.returned {
            Some((at, answer)) if is_write(answer) => Some(Moment::from_nanos(*at)),
            _ => None,
        })
    }

    /// The whole history.
    pub fn take(&self) -> Vec<Operation> {
        std::mem::take(&mut *self.operations.lock().expect("nobody panicked"))
    }

    /// Adds an operation that has returned, or whose client has given up.
    pub fn record(&self, operation: Operation) {
        let mut operations = self.operations.lock().expect("nobody panicked");
        operations.push(operation);
    }
}

/// Whether an answer acknowledges a change.
pub fn is_write(answer: &Answer) -> bool {
    matches!(
        answer.body,
        Body::Put | Body::Deleted(true) | Body::CompareAndSet(true)
    )
}

/// Clients under way.
pub struct Load {
    host: Host,
    stop: Arc<AtomicBool>,
    running: Arc<AtomicUsize>,
}

impl Load {
    /// Starts the clients.
    pub fn start(host: &Host, endpoints: &[String], recorder: &Arc<Recorder>) -> Load {
        let load = Load {
            host: host.clone(),
            stop: Arc::default(),
            running: Arc::new(AtomicUsize::new(CLIENTS as usize)),
        };
        for number in 0..CLIENTS {
            let client = Actor::new(host, endpoints, number, recorder);
            let (stop, running) = (load.stop.clone(), load.running.clone());
            host.spawn("chaos-client", async move {
                client.run(&stop).await;
                running.fetch_sub(1, Ordering::Release);
            });
        }
        load
    }

    /// Lets every client finish the call under way. A client that panicked never does.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        wait_for(&self.host, "the clients' last answers", async || {
            (self.running.load(Ordering::Acquire) == 0).then_some(())
        })
        .await;
    }
}

/// One client.
struct Actor {
    host: Host,
    number: u32,
    client: Client,
    generator: Generator,
    recorder: Arc<Recorder>,
}

impl Actor {
    fn new(host: &Host, endpoints: &[String], number: u32, recorder: &Arc<Recorder>) -> Actor {
        let endpoints = endpoints.to_vec();
        let config = if number.is_multiple_of(2) {
            ClientConfig::new(endpoints)
        } else {
            ClientConfig::single_attempt(endpoints)
        };
        Actor {
            host: host.clone(),
            number,
            client: Client::new(host, config),
            generator: Generator::new(SEED, number, KEYS),
            recorder: recorder.clone(),
        }
    }

    async fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let pause = self.generator.pause(PAUSE.as_nanos() as u64);
            self.host.sleep(Duration::from_nanos(pause)).await;
            self.step().await;
        }
    }

    /// Makes a call, and records it unless it certainly was not carried out.
    async fn step(&mut self) {
        let call = self.generator.call();
        let called = self.host.now().as_nanos();
        let result = self.carry_out(&call).await;
        let returned = match result {
            Ok(answer) => Some((self.host.now().as_nanos(), answer)),
            Err(error) if error.is_definite() => return check_refusal(&call, &error),
            Err(_) => None,
        };
        if let Some((_, answer)) = &returned {
            self.generator.learn(&call, answer);
        }
        self.recorder.record(Operation {
            client: self.number,
            called,
            call,
            returned,
        });
    }

    async fn carry_out(&self, call: &Call) -> Result<Answer, ClientError> {
        let client = &self.client;
        match *call {
            Call::Put { key, value } => {
                let key = key_bytes(key);
                let put = client.put(&key, value_bytes(value), Condition::None);
                Ok(answer(put.await?.revision, Body::Put))
            }
            Call::Delete { key } => {
                let reply = client.delete(&key_bytes(key), Condition::None).await?;
                Ok(answer(reply.revision, Body::Deleted(reply.deleted == 1)))
            }
            // Half of the clients compare in a transaction, the others by the key's entity tag.
            Call::CompareAndSet {
                key,
                expected,
                value,
            } if self.number < CLIENTS / 2 => {
                let request = compare_and_set(key, expected, value);
                let reply = client.txn(&request).await?;
                Ok(answer(reply.revision, Body::CompareAndSet(reply.succeeded)))
            }
            Call::CompareAndSet {
                key,
                expected,
                value,
            } => {
                let condition = match expected {
                    0 => Condition::Absent,
                    revision => Condition::ModRevision(revision),
                };
                let key = key_bytes(key);
                let put = client.put(&key, value_bytes(value), condition);
                conditional(put.await.map(|reply| reply.revision))
            }
            // A get of one key by its path does not say at which revision it found nothing.
            Call::Get { key } => self.read(KeySet::one(key_bytes(key))).await,
            Call::Range { from, to } => {
                let keys = KeySet {
                    start: Some(key_bytes(from).into()),
                    end: Some(key_bytes(to).into()),
                    ..KeySet::default()
                };
                self.read(keys).await
            }
        }
    }

    async fn read(&self, keys: KeySet) -> Result<Answer, ClientError> {
        let query = RangeQuery {
            keys,
            ..RangeQuery::default()
        };
        let reply = self.client.range(&query).await?;
        assert!(!reply.more, "the keys fit into one answer");
        let found = reply.kvs.iter().map(found).collect();
        Ok(answer(reply.revision, Body::Read(found)))
    }
}

fn answer(revision: u64, body: Body) -> Answer {
    Answer { revision, body }
}

/// The answer to a put whose condition held or did not.
fn conditional(result: Result<u64, ClientError>) -> Result<Answer, ClientError> {
    match result {
        Ok(revision) => Ok(answer(revision, Body::CompareAndSet(true))),
        Err(ClientError::Refused(problem)) if problem.kind == ProblemKind::PreconditionFailed => {
            let revision = problem.extra.get("revision").and_then(|r| r.as_u64());
            let revision = revision.expect("a failed precondition tells the revision");
            Ok(answer(revision, Body::CompareAndSet(false)))
        }
        Err(error) => Err(error),
    }
}

fn compare_and_set(key: u32, expected: u64, value: u64) -> TxnRequest {
    let put = TxnPut {
        key: Key(key_bytes(key)),
        value: Value(value_bytes(value)),
        prev_kv: false,
    };
    TxnRequest {
        compare: vec![Compare {
            key: Key(key_bytes(key)),
            op: Operator::Equal,
            target: CompareTarget::ModRevision(expected),
        }],
        success: vec![TxnOp::Put(put)],
        failure: Vec::new(),
    }
}

/// A pair as the checkers know it.
pub fn found(pair: &KeyValue) -> Found {
    let value = pair.value.as_ref().expect("values were asked for");
    Found {
        key: key_number(&pair.key.0).expect("a key of this load"),
        value: value_number(&value.0).expect("a value of this load"),
        modified: pair.mod_revision,
    }
}

/// A call may be turned away because of the moment, never because of what it asks.
///
/// # Panics
/// When it was.
fn check_refusal(call: &Call, error: &ClientError) {
    let is_passing = match error.refusal() {
        None => true,
        Some(kind) => matches!(
            kind,
            ProblemKind::NoLeader
                | ProblemKind::Overloaded
                | ProblemKind::Unavailable
                | ProblemKind::RequestTimeout
        ),
    };
    let is_late_read = error.refusal() == Some(ProblemKind::ReadTimeout) && !is_command(call);
    assert!(is_passing || is_late_read, "{call:?} was refused: {error}");
}
