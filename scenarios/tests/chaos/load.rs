//! Clients that put, get, compare-and-set, delete and read ranges over few keys, and the record of what they were told.

use crate::cluster::wait_for;
use holdfast_host::{Host, Moment};
use holdfast_node::client::{Client, ClientConfig, ClientError};
use holdfast_scenarios::raft_kv::{
    http::{CompareBy, carry_out, is_passing},
    workload::Generator,
};
use holdfast_sim::check::kv::{Answer, Body, Call, Operation};
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
    /// Half of the clients compare in a transaction, the others by the key's entity tag.
    by: CompareBy,
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
            by: match number < CLIENTS / 2 {
                true => CompareBy::Txn,
                false => CompareBy::Tag,
            },
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
        let result = carry_out(&self.client, self.by, &call).await;
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
}

/// A call may be turned away because of the moment, never because of what it asks.
///
/// # Panics
/// When it was.
fn check_refusal(call: &Call, error: &ClientError) {
    assert!(is_passing(call, error), "{call:?} was refused: {error}");
}
