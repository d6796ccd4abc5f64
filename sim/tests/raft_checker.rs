//! The checker of Raft's promises: each violation is called by its name, and what is allowed is allowed.

use bytes::Bytes;
use holdfast_raft::{Body, Entry, HardState, Message, Term};
use holdfast_sim::check::{
    Violation,
    raft::{RaftChecker, durable_promise},
};

fn entry(index: u64, term: Term, payload: &'static str) -> Entry {
    Entry {
        term,
        index,
        payload: Bytes::from_static(payload.as_bytes()),
    }
}

fn property(result: Result<(), Violation>) -> Option<&'static str> {
    result.err().map(|violation| violation.property)
}

#[test]
fn a_term_has_one_leader() {
    let mut checker = RaftChecker::default();
    assert_eq!(property(checker.leader(1, 5, |_| None)), None);
    assert_eq!(property(checker.leader(1, 5, |_| None)), None, "told twice");
    assert_eq!(property(checker.leader(2, 6, |_| None)), None);
    let second = checker.leader(3, 6, |_| None);
    assert_eq!(property(second), Some("election-safety"));
}

#[test]
fn a_leader_has_what_was_committed_before_its_term() {
    let committed = [entry(1, 1, "a"), entry(2, 2, "b")];
    let mut checker = RaftChecker::default();
    assert_eq!(property(checker.apply(1, 2, &committed)), None);
    // It won term 2 itself and hears of it late.
    assert_eq!(property(checker.leader(2, 2, |_| None)), None);
    let has_all = |index: u64| Some(index);
    assert_eq!(property(checker.leader(2, 3, has_all)), None);
    let lacks_last = |index: u64| (index == 1).then_some(1);
    let found = checker.leader(3, 4, lacks_last);
    assert_eq!(property(found), Some("leader-completeness"));
    let has_another = |index: u64| Some(if index == 2 { 1 } else { index });
    let found = checker.leader(3, 5, has_another);
    assert_eq!(property(found), Some("leader-completeness"));
}

#[test]
fn logs_match() {
    let base = || {
        let mut checker = RaftChecker::default();
        let log = [entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 2, "c")];
        assert_eq!(property(checker.appended(1, Some(0), &log)), None);
        checker
    };
    // The same, in other pieces, and another leader's entries.
    let mut checker = base();
    let b = [entry(2, 1, "b")];
    assert_eq!(property(checker.appended(2, Some(1), &b)), None);
    assert_eq!(
        property(checker.appended(2, None, &b)),
        None,
        "what is before is unknown"
    );
    let other = [entry(3, 3, "x")];
    assert_eq!(property(checker.appended(3, Some(1), &other)), None);
    // One index and term with two contents, or two pasts.
    let changed = [entry(2, 1, "x")];
    let found = base().appended(2, Some(1), &changed);
    assert_eq!(property(found), Some("log-matching"));
    let found = base().appended(2, Some(2), &[entry(3, 2, "c")]);
    assert_eq!(property(found), Some("log-matching"));
}

#[test]
fn everybody_applies_the_same_without_holes() {
    let base = || {
        let mut checker = RaftChecker::default();
        let log = [entry(1, 1, "a"), entry(2, 1, "b")];
        assert_eq!(property(checker.apply(1, 1, &log)), None);
        assert_eq!(checker.applied(), 2);
        checker
    };
    let mut checker = base();
    assert_eq!(property(checker.apply(2, 3, &[entry(1, 1, "a")])), None);
    assert_eq!(
        property(checker.apply(2, 3, &[entry(2, 1, "b"), entry(3, 3, "c")])),
        None
    );
    for wrong in [entry(2, 1, "x"), entry(2, 2, "b"), entry(4, 1, "d")] {
        let found = base().apply(2, 1, &[wrong]);
        assert_eq!(property(found), Some("state-machine-safety"));
    }
}

#[test]
fn commit_and_term_never_fall_while_a_node_is_up() {
    let base = || {
        let mut checker = RaftChecker::default();
        assert_eq!(property(checker.progress(1, 5, 2, 9)), None);
        checker
    };
    assert_eq!(property(base().progress(1, 9, 3, 9)), None);
    for (commit, term, last) in [(4, 2, 9), (5, 1, 9), (8, 2, 7)] {
        let found = base().progress(1, commit, term, last);
        assert_eq!(property(found), Some("monotonic-commit"));
    }
    // A start forgets what was only in memory.
    let mut checker = base();
    checker.restarted(1);
    assert_eq!(property(checker.progress(1, 2, 2, 9)), None);
}

#[test]
fn a_promise_is_on_the_platter() {
    let durable = |term, vote| HardState {
        term,
        vote,
        commit: 0,
    };
    let check = |body: Body, durable: HardState, index| {
        let message = Message {
            from: 1,
            to: 2,
            term: 4,
            body,
        };
        property(durable_promise(&message, durable, index))
    };
    let broken = Some("durable-promise");
    let vote = |pre, granted| Body::VoteReply { pre, granted };
    assert_eq!(check(vote(false, true), durable(4, Some(2)), 0), None);
    assert_eq!(check(vote(false, true), durable(4, None), 0), broken);
    assert_eq!(check(vote(false, true), durable(4, Some(3)), 0), broken);
    assert_eq!(check(vote(false, true), durable(3, Some(2)), 0), broken);
    assert_eq!(check(vote(false, false), durable(3, None), 0), None);
    assert_eq!(check(vote(true, true), durable(3, None), 0), None);
    let appended = || Body::Appended { matched: 7 };
    assert_eq!(check(appended(), durable(4, None), 7), None);
    assert_eq!(check(appended(), durable(4, None), 6), broken);
    assert_eq!(check(appended(), durable(3, None), 7), broken);
}
