//! The arithmetic of majorities against `fixtures/etcd-raft/quorum`.

use crate::script::{Command, folder};
use holdfast_raft::{
    NodeId,
    quorum::{VoteResult, committed, joint_committed, joint_vote_result, vote_result},
};
use std::collections::BTreeMap;

/// A quorum as a command describes it.
struct Config {
    voters: Vec<NodeId>,
    /// The other half, when it is joint.
    others: Option<Vec<NodeId>>,
}

impl Config {
    fn of(command: &Command) -> Self {
        let others = match command.option("cfgj") {
            None => None,
            Some([zero]) if zero == "zero" => Some(Vec::new()),
            Some(_) => command.numbers("cfgj"),
        };
        Config {
            voters: command.numbers("cfg").unwrap_or_default(),
            others,
        }
    }

    /// What each voter has: values are listed in the order in which voters are first named; `_` is nothing.
    fn assign<T>(&self, values: &[String], parse: impl Fn(&str) -> T) -> BTreeMap<NodeId, T> {
        let mut ids: Vec<NodeId> = Vec::new();
        for id in self.voters.iter().chain(self.others.iter().flatten()) {
            if !ids.contains(id) {
                ids.push(*id);
            }
        }
        assert_eq!(ids.len(), values.len(), "one value a voter");
        let pairs = ids.into_iter().zip(values);
        let known = pairs.filter(|(_, value)| *value != "_");
        known.map(|(id, value)| (id, parse(value))).collect()
    }
}

fn check_committed(command: &Command) {
    let config = Config::of(command);
    let values = command.option("idx").unwrap_or_default();
    let indexes = config.assign(values, |value| value.parse::<u64>().unwrap());
    let acked = |id| indexes.get(&id).copied();
    let last = command.expected.last().expect("a result");
    let expected = match last.ends_with('∞') {
        true => u64::MAX,
        false => last.parse().expect("an index"),
    };
    let place = &command.place;
    match &config.others {
        None => {
            assert_eq!(committed(&config.voters, acked), expected, "{place}");
            // Joint with itself, and with nobody, it is the same quorum.
            for others in [&config.voters[..], &[]] {
                let halves = [&config.voters[..], others];
                assert_eq!(joint_committed(halves, acked), expected, "{place}");
            }
        }
        Some(others) => {
            for halves in [[&config.voters, others], [others, &config.voters]] {
                let halves = halves.map(|half| &half[..]);
                assert_eq!(joint_committed(halves, acked), expected, "{place}");
            }
        }
    }
}

fn check_vote(command: &Command) {
    let config = Config::of(command);
    let values = command.option("votes").unwrap_or_default();
    let votes = config.assign(values, |value| match value {
        "y" => true,
        "n" => false,
        _ => panic!("{}: {value} is no vote", command.place),
    });
    let vote = |id| votes.get(&id).copied();
    let expected = match &command.expected[..] {
        [line] if line == "VoteWon" => VoteResult::Won,
        [line] if line == "VoteLost" => VoteResult::Lost,
        [line] if line == "VotePending" => VoteResult::Pending,
        other => panic!("{}: {other:?}", command.place),
    };
    let place = &command.place;
    match &config.others {
        None => {
            assert_eq!(vote_result(&config.voters, vote), expected, "{place}");
            for others in [&config.voters[..], &[]] {
                let halves = [&config.voters[..], others];
                assert_eq!(joint_vote_result(halves, vote), expected, "{place}");
            }
        }
        Some(others) => {
            for halves in [[&config.voters, others], [others, &config.voters]] {
                let halves = halves.map(|half| &half[..]);
                assert_eq!(joint_vote_result(halves, vote), expected, "{place}");
            }
        }
    }
}

#[test]
fn quorums_are_those_of_the_fixtures() {
    let (mut commits, mut votes) = (0, 0);
    for (_, commands) in folder("quorum") {
        for command in commands {
            match &command.name[..] {
                "committed" => {
                    check_committed(&command);
                    commits += 1;
                }
                "vote" => {
                    check_vote(&command);
                    votes += 1;
                }
                other => panic!("{}: no such command: {other}", command.place),
            }
        }
    }
    assert_eq!((commits, votes), (66, 61));
}

/// Larger groups than the scripts have, where the indexes no longer fit the buffer on the stack.
#[test]
fn a_majority_of_any_size_has_the_committed_index() {
    for size in 1..30_u64 {
        let voters: Vec<NodeId> = (1..=size).collect();
        let acked = |id: NodeId| Some(id * 37 % 101);
        let index = committed(&voters, acked);
        let having = |index| {
            voters
                .iter()
                .filter(|id| acked(**id) >= Some(index))
                .count()
        };
        assert!(having(index) > voters.len() / 2);
        assert!(having(index + 1) <= voters.len() / 2);
    }
}
