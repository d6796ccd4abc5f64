//! That the verdict is not always the same: stories of a store in memory, true ones and ones in which an acknowledged
//! write was lost.

use crate::{load::Recorder, verdict::judge};
use holdfast_kv::{KeyRange, Kv};
use holdfast_scenarios::raft_kv::workload::{self, Generator};
use holdfast_sim::check::kv::{self, Body, Change, Operation};

const CLIENTS: u32 = 3;
const KEYS: u32 = 5;
const CALLS: u64 = 300;

#[test]
fn a_true_story_is_believed() {
    let (history, changes) = story(None);
    assert!(changes.len() > 100, "there is something to lose");
    assert_eq!(judge(&history, &changes), Ok(()));
}

#[test]
fn an_acknowledged_write_that_the_log_lacks_is_missed() {
    let (history, changes) = story(None);
    for at in 0..changes.len() {
        let mut fewer = changes.clone();
        let lost = fewer.remove(at);
        let violation = judge(&history, &fewer).expect_err("a write was lost");
        assert_eq!(violation.property, "witness", "without {lost:?}");
    }
}

#[test]
fn a_store_that_forgets_an_acknowledged_write_is_caught_by_its_answers_alone() {
    let (history, changes) = story(Some(CALLS / 2));
    judge(&history, &changes).expect_err("a write was lost");
    let violation = kv::linearizable(&history).expect_err("a write was lost");
    assert_eq!(violation.property, "linearizability");
}

/// What clients ask of a store one after the other, and its log. When told to, the store goes back to what it was
/// before the first put at or after call `forget`, once that has been acknowledged.
fn story(mut forget: Option<u64>) -> (Vec<Operation>, Vec<Change>) {
    let recorder = Recorder::default();
    let mut store = Kv::new();
    let mut clients: Vec<Generator> = (0..CLIENTS)
        .map(|client| Generator::new(1, client, KEYS))
        .collect();
    for n in 0..CALLS {
        let client = (n % u64::from(CLIENTS)) as u32;
        let generator = &mut clients[client as usize];
        let call = generator.call();
        let before = store.clone();
        let answer = match workload::command(&call) {
            Some(command) => workload::answer(&call, &store.execute(&command)),
            None => Some(workload::read(&store, &call)),
        };
        let answer = answer.expect("the store answers what it was asked");
        if answer.body == Body::Put && forget.is_some_and(|from| n >= from) {
            store = before;
            forget = None;
        }
        generator.learn(&call, &answer);
        recorder.record(Operation {
            client,
            called: 2 * n,
            call,
            returned: Some((2 * n + 1, answer)),
        });
    }
    assert!(forget.is_none(), "there was a put to forget");
    (recorder.take(), log(&store))
}

fn log(store: &Kv) -> Vec<Change> {
    let mut changes = Vec::new();
    store
        .visit_events(&KeyRange::all(), 1, usize::MAX, |revision, key, value| {
            changes.push(workload::change(revision, key, value));
        })
        .expect("nothing was compacted");
    changes
}
