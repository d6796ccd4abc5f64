//! Small groups: what the protocol promises, one promise a test.

use crate::world::{ELECTION_TICKS, Platter, TICK, World, config, text, voters};
use bytes::Bytes;
use holdfast_raft::{
    Body, Entry, Event, HardState, Message, Mode, Mutant, NodeId, Proposal, ProposeError, Role,
    SnapshotStatus,
};

/// The payloads of a node's log, with what opens a term as `""`.
fn log(world: &World, id: NodeId) -> Vec<(u64, String)> {
    let entries = world.node(id).log();
    let pairs = entries
        .iter()
        .map(|entry| (entry.term, text(&entry.payload).to_owned()));
    pairs.collect()
}

/// As in production. Its nodes have been up for so long that no leader of before can hold a lease.
pub fn strong(count: u64) -> World {
    let mut world = World::new(count, |config| {
        config.pre_vote = true;
        config.check_quorum = true;
        config.lease_reads = true;
    });
    world.wait(ELECTION_TICKS * TICK);
    world
}

/// Heartbeats that are answered, so that everybody's clock goes on.
pub fn live(world: &mut World, ticks: u64) {
    let ids: Vec<NodeId> = world.nodes.keys().copied().collect();
    for _ in 0..ticks {
        for id in &ids {
            world.tick(*id);
        }
        world.stabilize();
    }
}

// ---- Elections ----

#[test]
fn a_majority_elects_and_entries_get_everywhere() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    world.propose(1, "a");
    world.propose(1, "b");
    world.stabilize();
    for id in 1..=3 {
        assert_eq!(world.node(id).payloads(), ["a", "b"]);
        assert_eq!(world.raft(id).leader(), Some(1));
        assert_eq!(world.raft(id).commit(), 3);
        assert_eq!(world.node(id).platter.entries.len(), 3);
    }
}

#[test]
fn without_a_majority_nobody_is_elected_and_nothing_is_committed() {
    let mut world = World::new(5, |_| {});
    world.elect(1);
    world.isolate(&[1, 2]);
    world.propose(1, "lost");
    world.campaign(2);
    world.stabilize();
    assert_eq!(world.raft(2).role(), Role::Candidate);
    assert_eq!(world.raft(1).commit(), 1);
}

#[test]
fn who_lacks_entries_is_not_elected() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    world.isolate(&[3]);
    world.propose(1, "a");
    world.stabilize();
    world.heal();
    world.campaign(3);
    world.stabilize();
    assert_ne!(world.raft(3).role(), Role::Leader);
    assert_eq!(world.raft(3).vote(), Some(3));
}

#[test]
fn a_pre_vote_that_fails_disturbs_nobody() {
    let mut world = World::new(3, |config| config.pre_vote = true);
    world.elect(1);
    world.isolate(&[3]);
    world.propose(1, "a");
    world.stabilize();
    let term = world.raft(1).term();
    // Alone it asks again and again, and its term stays.
    for _ in 0..20 {
        world.tick(3);
        world.stabilize();
    }
    assert_eq!(world.raft(3).role(), Role::PreCandidate);
    assert_eq!(world.raft(3).term(), term);
    world.heal();
    world.campaign(3);
    world.stabilize();
    assert_eq!(world.raft(1).role(), Role::Leader);
    assert_eq!(world.raft(1).term(), term);
    live(&mut world, 1);
    assert_eq!(world.node(3).payloads(), ["a"]);
}

#[test]
fn who_hears_a_leader_gives_no_vote() {
    let mut world = World::new(3, |config| config.check_quorum = true);
    world.elect(1);
    world.campaign(2);
    world.stabilize();
    assert_eq!(world.raft(1).term(), 1);
    assert_eq!(world.raft(3).term(), 1);
    // A node that lost its leader for long is free.
    world.isolate(&[1]);
    world.pass(3, ELECTION_TICKS * TICK);
    world.campaign(2);
    world.stabilize();
    assert_eq!(world.raft(2).role(), Role::Leader);
}

#[test]
fn a_leader_that_hears_no_quorum_steps_down() {
    let mut world = strong(3);
    world.elect(1);
    live(&mut world, 10);
    assert_eq!(world.raft(1).role(), Role::Leader);
    world.isolate(&[1]);
    for _ in 0..2 * ELECTION_TICKS {
        world.tick(1);
        world.stabilize();
    }
    assert_ne!(world.raft(1).role(), Role::Leader);
    assert!(world.node(1).has(&Event::LostQuorum));
    assert_eq!(world.raft(1).leader(), None);
}

#[test]
fn a_vote_survives_a_restart() {
    let mut world = World::new(3, |_| {});
    world.isolate(&[3]);
    world.campaign(1);
    world.stabilize();
    assert_eq!(world.raft(2).vote(), Some(1));
    world.restart(2);
    assert_eq!(world.raft(2).vote(), Some(1));
    world.heal();
    world.isolate(&[1]);
    // Node 3 asks in the same term and is refused.
    world.campaign(3);
    world.stabilize();
    assert_eq!(world.raft(3).term(), 1);
    assert_ne!(world.raft(3).role(), Role::Leader);
}

#[test]
fn a_single_voter_needs_nobody_but_its_disk() {
    let mut world = World::new(1, |config| config.pre_vote = true);
    world.is_async = true;
    world.campaign(1);
    world.act(1);
    world.acknowledge(1);
    assert_ne!(
        world.raft(1).role(),
        Role::Leader,
        "its vote is not durable yet"
    );
    world.stabilize();
    assert_eq!(world.raft(1).role(), Role::Leader);
    world.propose(1, "a");
    world.act(1);
    assert!(world.node(1).payloads().is_empty(), "nor is the entry");
    world.stabilize();
    assert_eq!(world.node(1).payloads(), ["a"]);
}

// ---- Logs ----

#[test]
fn entries_that_conflict_are_replaced() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    world.propose(1, "everywhere");
    world.stabilize();
    world.isolate(&[1]);
    for n in 0..5 {
        world.propose(1, &format!("lost {n}"));
    }
    world.stabilize();
    world.elect(2);
    world.propose(2, "kept");
    world.stabilize();
    assert_eq!(
        world.raft(1).role(),
        Role::Leader,
        "it does not know better"
    );
    world.heal();
    world.propose(2, "at last");
    world.stabilize();
    live(&mut world, 1);
    let expected = [
        (1, ""),
        (1, "everywhere"),
        (2, ""),
        (2, "kept"),
        (2, "at last"),
    ];
    let expected: Vec<(u64, String)> = expected
        .map(|(term, payload)| (term, payload.to_owned()))
        .to_vec();
    for id in 1..=3 {
        assert_eq!(log(&world, id), expected);
        let on_platter = world.node(id).platter.entries.len();
        assert_eq!(on_platter, expected.len());
        assert_eq!(world.node(id).payloads(), ["everywhere", "kept", "at last"]);
    }
    assert!(world.node(1).has(&Event::Conflict { index: 3 }));
}

/// Raft, figure 8: an entry of an older term is on a majority and must not be committed by that.
fn figure_8(mutant: Option<Mutant>) -> World {
    let mut world = World::new(5, |config| config.mutant = mutant);
    // (a) Node 1 leads in term 1, and its entry reaches node 2 only.
    world.elect(1);
    world.isolate(&[1, 2]);
    world.propose(1, "old");
    world.stabilize();
    // (b) Node 5 leads in term 2 and keeps an entry of its own.
    world.heal();
    world.isolate(&[1]);
    world.isolate(&[2]);
    world.campaign(5);
    world.run_until(&[5, 3, 4], |world| world.raft(5).role() == Role::Leader);
    world.network.clear();
    world.isolate(&[5]);
    world.stabilize();
    // (c) Node 1 is elected again and replicates "old" to node 3, not yet its own entry of the new term.
    world.heal();
    world.isolate(&[5]);
    world.restart(1);
    // Its first campaign is in term 2, in which the others have voted.
    world.campaign(1);
    world.stabilize();
    world.campaign(1);
    world.run_until(&[1, 2, 3, 4], |world| world.raft(1).role() == Role::Leader);
    world
}

#[test]
fn entries_of_older_terms_are_not_committed_by_counting() {
    for (mutant, expected) in [(None, 0), (Some(Mutant::CommitOldTermByCounting), 2)] {
        let mut world = figure_8(mutant);
        let term = world.raft(1).term();
        assert_eq!(world.raft(1).term_at(2), Some(1), "\"old\" is there");
        assert_eq!(world.raft(1).last_index(), 3, "and what opens the term");
        // Two followers say that they have "old".
        for from in [2, 3] {
            let reply = Message {
                from,
                to: 1,
                term,
                body: Body::Appended { matched: 2 },
            };
            world.hand_over(reply);
        }
        assert_eq!(world.raft(1).commit(), expected, "{mutant:?}");
    }
}

#[test]
fn a_follower_behind_the_compaction_gets_a_snapshot() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    world.isolate(&[3]);
    for n in 0..10 {
        world.propose(1, &format!("{n}"));
        world.stabilize();
    }
    world.compact(1, 8);
    assert_eq!(world.raft(1).first_index(), 9);
    world.heal();
    live(&mut world, 2);
    let needed = Event::SnapshotNeeded { to: 3, index: 11 };
    assert!(world.node(1).has(&needed), "{:?}", world.node(1).events);
    assert_eq!(world.raft(3).commit(), 11);
    assert_eq!(world.node(3).platter.snapshot.index, 11);
    world.propose(1, "after");
    world.stabilize();
    assert_eq!(world.node(3).payloads(), ["after"]);
    let progress = &world.raft(1).progress()[2];
    assert_eq!((progress.mode(), progress.matched()), (Mode::Replicate, 12));
    // It starts again from the snapshot and the log behind it.
    world.restart(3);
    assert_eq!(world.raft(3).last_index(), 12);
    live(&mut world, 1);
    assert_eq!(world.node(3).payloads(), ["after"]);
}

#[test]
fn a_snapshot_that_could_not_be_sent_is_sent_again() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    world.isolate(&[3]);
    world.propose(1, "a");
    world.stabilize();
    world.compact(1, 2);
    world.heal();
    let sent = |world: &World| {
        let events = world.node(1).events.iter();
        events
            .filter(|event| matches!(event, Event::SnapshotNeeded { .. }))
            .count()
    };
    world.tick(1);
    world.run_until(&[1, 3], |world| sent(world) > 0);
    world.act(1);
    world.take(3);
    assert!(matches!(
        world.raft(1).progress()[2].mode(),
        Mode::Snapshot(2)
    ));
    world.call(1, |raft, now| {
        raft.report_snapshot(now, 3, SnapshotStatus::Failed);
    });
    live(&mut world, 3);
    assert_eq!(sent(&world), 2);
    assert_eq!(world.raft(3).commit(), 2);
}

/// What stands behind the entries that an append covers may be another leader's.
#[test]
fn an_append_is_acknowledged_as_far_as_it_goes() {
    for (mutant, expected) in [(None, 1), (Some(Mutant::AcknowledgeLastIndex), 4)] {
        let mut world = World::new(3, |config| config.mutant = mutant);
        world.elect(1);
        world.isolate(&[1]);
        for payload in ["x", "y", "z"] {
            world.propose(1, payload);
        }
        world.stabilize();
        world.hand_over(Message {
            from: 2,
            to: 1,
            term: 2,
            body: Body::Append {
                prev_index: 1,
                prev_term: 1,
                commit: 1,
                entries: Vec::new(),
            },
        });
        world.act(1);
        let answer = world.network.iter().find(|message| message.to == 2);
        let body = answer.map(|message| message.body.clone());
        assert_eq!(
            body,
            Some(Body::Appended { matched: expected }),
            "{mutant:?}"
        );
    }
}

/// While the snapshot was on its way the leader dropped what comes behind it.
#[test]
fn a_follower_behind_the_next_compaction_gets_the_next_snapshot() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    world.isolate(&[3]);
    world.propose(1, "a");
    world.stabilize();
    world.compact(1, 2);
    world.heal();
    world.tick(1);
    world.run_until(&[1, 2, 3], |world| world.raft(3).commit() == 2);
    world.act(3);
    let answer = world.take(1);
    for payload in ["b", "c"] {
        world.propose(1, payload);
        world.stabilize_with(&[1, 2], |_, _, _| {});
    }
    world.compact(1, 4);
    for message in answer {
        world.hand_over(message);
    }
    live(&mut world, 2);
    assert_eq!(world.raft(3).commit(), 4);
    assert_eq!(world.node(3).platter.snapshot.index, 4);
}

// ---- Storage that takes its time ----

#[test]
fn the_leader_counts_itself_when_its_disk_has_it() {
    let mut world = World::new(2, |_| {});
    world.elect(1);
    world.is_async = true;
    world.propose(1, "a");
    world.act(1);
    // Node 2 has it durably, node 1 has not: one of two is no majority.
    world.deliver(2);
    world.act(2);
    world.write(2);
    world.deliver(1);
    assert_eq!(world.raft(1).commit(), 1);
    world.write(1);
    world.acknowledge(1);
    assert_eq!(world.raft(1).commit(), 2);
}

#[test]
fn a_promise_leaves_when_it_is_durable() {
    let mut world = World::new(3, |_| {});
    world.is_async = true;
    world.campaign(1);
    world.act(1);
    world.deliver(2);
    world.act(2);
    assert_eq!(world.raft(2).vote(), Some(1));
    assert!(world.network.iter().all(|m| m.from != 2), "not durable yet");
    assert_eq!(world.write(2).len(), 1);
    assert_eq!(world.node(2).platter.hard_state.vote, Some(1));
    // The same question again: what is durable is promised at once.
    world.acknowledge(2);
    world.campaign(3);
    world.act(3);
    assert_eq!(world.deliver(2).len(), 1);
    world.act(2);
    let refusals = world.network.iter().filter(|m| m.from == 2 && m.to == 3);
    assert_eq!(refusals.count(), 1);
}

#[test]
fn a_vote_that_is_not_durable_is_not_given() {
    for (mutant, votes) in [(None, 0), (Some(Mutant::VoteBeforeSync), 1)] {
        let mut world = World::new(3, |config| config.mutant = mutant);
        world.is_async = true;
        world.campaign(1);
        world.act(1);
        world.deliver(2);
        world.act(2);
        let given = world.network.iter().filter(|message| message.from == 2);
        assert_eq!(given.count(), votes, "{mutant:?}");
        // Node 2 dies before its disk has it, and knows nothing of it.
        world.restart(2);
        assert_eq!(world.raft(2).vote(), None);
    }
}

/// The disk says that it has index 2 while index 2 has become another entry.
#[test]
fn an_acknowledgement_of_entries_that_were_replaced_says_nothing() {
    let mut world = World::new(5, |_| {});
    world.elect(1);
    world.is_async = true;
    world.propose(1, "old");
    world.act(1);
    world.deliver(2);
    world.act(2);
    assert!(world.node(2).is_writing());
    // Node 3, which has not heard of it, leads next.
    world.network.clear();
    world.isolate(&[1, 2]);
    world.campaign(3);
    world.stabilize_with(&[3, 4, 5], |_, _, _| {});
    assert_eq!(world.raft(3).role(), Role::Leader);
    world.heal();
    world.network.clear();
    world.tick(3);
    world.run_until(&[3, 2], |world| world.raft(2).term_at(2) == Some(2));
    assert_eq!(world.raft(2).stable(), 1);
    world.write(2);
    world.acknowledge(2);
    assert_eq!(
        world.node(2).platter.entries[1].term,
        1,
        "the old entry is there"
    );
    assert_eq!(world.raft(2).stable(), 1, "and is nothing to go by");
    world.stabilize();
    assert_eq!(world.raft(2).stable(), 2);
    assert_eq!(world.node(2).platter.entries[1].term, 2);
}

// ---- Handing over ----

#[test]
fn leadership_is_handed_to_who_has_everything() {
    let mut world = strong(3);
    world.elect(1);
    world.isolate(&[3]);
    world.propose(1, "a");
    world.stabilize();
    world.heal();
    world.call(1, |raft, now| raft.transfer_leader(now, 3));
    let refused = world.call(1, |raft, now| raft.propose(now, vec![Bytes::new()]));
    assert_eq!(refused, Err(ProposeError::Transferring));
    live(&mut world, 1);
    assert_eq!(world.raft(3).role(), Role::Leader);
    assert_eq!(world.raft(3).commit(), 3);
    assert!(world.node(3).has(&Event::CampaignOrdered));
}

#[test]
fn a_follower_can_ask_for_the_hand_over() {
    let mut world = strong(3);
    world.elect(1);
    world.call(2, |raft, now| raft.transfer_leader(now, 3));
    world.stabilize();
    assert_eq!(world.raft(3).role(), Role::Leader);
}

#[test]
fn a_hand_over_to_nowhere_is_given_up() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    world.isolate(&[3]);
    world.propose(1, "a");
    world.stabilize();
    world.call(1, |raft, now| raft.transfer_leader(now, 3));
    live(&mut world, 2 * ELECTION_TICKS);
    world.propose(1, "b");
    world.stabilize();
    assert_eq!(world.node(1).payloads(), ["a", "b"]);
}

#[test]
fn the_best_successor_has_most_of_the_log() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    world.isolate(&[2]);
    world.propose(1, "a");
    world.stabilize();
    assert_eq!(world.raft(1).best_successor(), Some(3));
    assert_eq!(world.raft(2).best_successor(), None, "it does not lead");
}

#[test]
fn a_proposal_that_the_network_repeats_is_taken_once() {
    for (mutant, expected) in [(None, 1), (Some(Mutant::ProposalTakenTwice), 2)] {
        let mut world = World::new(3, |config| config.mutant = mutant);
        world.elect(1);
        world.propose(2, "a");
        world.act(2);
        let [message] = &world.take(1)[..] else {
            panic!("one proposal is passed on");
        };
        world.hand_over(message.clone());
        world.hand_over(message.clone());
        world.stabilize();
        assert_eq!(world.node(2).payloads().len(), expected, "{mutant:?}");
    }
}

#[test]
fn hand_overs_to_nowhere_do_not_keep_a_leader_in_office() {
    let mut world = strong(3);
    world.elect(1);
    live(&mut world, 1);
    world.isolate(&[1]);
    for turn in 0..4 * ELECTION_TICKS {
        let to = 2 + turn % 2;
        world.call(1, |raft, now| raft.transfer_leader(now, to));
        world.tick(1);
    }
    assert_ne!(world.raft(1).role(), Role::Leader, "it heard no quorum");
}

#[test]
fn a_proposal_that_the_leader_refuses_is_told_and_never_taken() {
    let mut world = World::new(3, |config| config.max_uncommitted_bytes = 4);
    world.elect(1);
    world.isolate(&[1]);
    world.propose(1, "large");
    world.heal();
    let passed_on = world.call(3, |raft, now| raft.propose(now, vec!["more".into()]));
    let Ok(Proposal::Forwarded { leader: 1, number }) = passed_on else {
        panic!("{passed_on:?}");
    };
    world.act(3);
    let proposals = world.take(1);
    for message in &proposals {
        world.hand_over(message.clone());
    }
    world.act(1);
    world.deliver(3);
    assert_eq!(world.node(3).refused.proposals, [number]);
    live(&mut world, 1);
    // There is room now, and the network repeats itself.
    for message in proposals {
        world.hand_over(message);
    }
    live(&mut world, 1);
    assert_eq!(world.node(1).payloads(), ["large"]);
}

/// What is written with the term may reach the platter before the entries do.
#[test]
fn the_commit_index_on_disk_is_of_entries_on_disk() {
    let mut world = World::new(3, |_| {});
    world.is_async = true;
    let entry = |index| Entry {
        term: 1,
        index,
        payload: "a".into(),
    };
    // The first that it hears of this term: entries and that they are committed.
    world.hand_over(Message {
        from: 1,
        to: 3,
        term: 1,
        body: Body::Append {
            prev_index: 0,
            prev_term: 0,
            commit: 3,
            entries: (1..=3).map(entry).collect(),
        },
    });
    assert_eq!((world.raft(3).commit(), world.raft(3).stable()), (3, 0));
    world.act(3);
    world.write(3);
    assert_eq!(world.node(3).platter.hard_state.term, 1);
    assert_eq!(world.node(3).platter.hard_state.commit, 0);
    // In the next term those entries are durable.
    world.acknowledge(3);
    world.hand_over(Message {
        from: 2,
        to: 3,
        term: 2,
        body: Body::Heartbeat {
            commit: 3,
            round: 1,
        },
    });
    world.act(3);
    world.write(3);
    assert_eq!(world.node(3).platter.hard_state.commit, 3);
}

/// An entry is replaced and comes back: that its first copy is durable says nothing of the second, behind which another
/// write has yet to cut it away.
#[test]
fn an_acknowledgement_from_before_a_detour_says_nothing() {
    let mut world = World::new(3, |_| {});
    world.is_async = true;
    let append = |term, entry_term| Message {
        from: if term == 2 { 2 } else { 1 },
        to: 3,
        term,
        body: Body::Append {
            prev_index: 0,
            prev_term: 0,
            commit: 0,
            entries: vec![Entry {
                term: entry_term,
                index: 1,
                payload: "a".into(),
            }],
        },
    };
    world.hand_over(append(1, 1));
    world.act(3);
    world.write(3);
    world.hand_over(append(2, 2));
    world.act(3);
    world.hand_over(append(3, 1));
    world.act(3);
    // The core hears of the first write alone.
    world.acknowledge(3);
    assert_eq!(world.raft(3).stable(), 0);
    while world.node(3).is_writing() {
        world.write(3);
    }
    world.acknowledge(3);
    assert_eq!(world.raft(3).stable(), 1);
}

/// A snapshot may be durable before the term that it came in is.
#[test]
fn a_term_known_from_the_log_alone_has_no_vote_yet() {
    let mut world = World::new(3, |_| {});
    let config = config(1, voters(&[1, 2, 3]));
    let platter = Platter {
        hard_state: HardState {
            term: 1,
            vote: Some(3),
            commit: 0,
        },
        entries: vec![Entry {
            term: 4,
            index: 1,
            payload: "a".into(),
        }],
        ..Platter::default()
    };
    world.add(config, platter);
    let state = world.raft(1).hard_state();
    assert_eq!((state.term, state.vote), (4, None));
    world.call(1, |_, _| {});
    world.act(1);
    assert_eq!(
        world.node(1).platter.hard_state.term,
        4,
        "it is written at once"
    );
}

#[test]
fn a_log_is_needed_by_who_is_heard_and_lacks_it() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    live(&mut world, 1);
    let everything = world.raft(1).last_index();
    assert_eq!(world.raft(1).needed_from(), Some(everything));
    assert_eq!(world.raft(2).needed_from(), None, "it does not lead");
    world.isolate(&[3]);
    world.propose(1, "a");
    world.stabilize();
    assert_eq!(
        world.raft(1).needed_from(),
        Some(everything),
        "node 3 was just heard"
    );
    assert_eq!(world.raft(1).log_bytes(), 1);
}
