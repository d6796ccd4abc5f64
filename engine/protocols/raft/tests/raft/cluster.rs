//! Small groups: what the protocol promises, one promise a test.

use crate::world::{ELECTION_TICKS, TICK, World, text};
use bytes::Bytes;
use holdfast_raft::{Body, Event, Mode, NodeId, ProposeError, ReadError, Role};

/// The payloads of a node's log, with what opens a term as `""`.
fn log(world: &World, id: NodeId) -> Vec<(u64, String)> {
    let entries = world.node(id).log();
    let pairs = entries
        .iter()
        .map(|entry| (entry.term, text(&entry.payload).to_owned()));
    pairs.collect()
}

/// As in production. Its nodes have been up for so long that no leader of before can hold a lease.
fn strong(count: u64) -> World {
    let mut world = World::new(count, |config| {
        config.pre_vote = true;
        config.check_quorum = true;
        config.lease_reads = true;
    });
    world.wait(ELECTION_TICKS * TICK);
    world
}

/// Heartbeats that are answered, so that everybody's clock goes on.
fn live(world: &mut World, ticks: u64) {
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
fn figure_8(mutant: Option<holdfast_raft::Mutant>) -> World {
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
    for (mutant, expected) in [
        (None, 0),
        (Some(holdfast_raft::Mutant::CommitOldTermByCounting), 2),
    ] {
        let mut world = figure_8(mutant);
        let term = world.raft(1).term();
        assert_eq!(world.raft(1).term_at(2), Some(1), "\"old\" is there");
        assert_eq!(world.raft(1).last_index(), 3, "and what opens the term");
        // Two followers say that they have "old".
        for from in [2, 3] {
            let reply = holdfast_raft::Message {
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
        raft.report_snapshot(now, 3, holdfast_raft::SnapshotStatus::Failed);
    });
    live(&mut world, 3);
    assert_eq!(sent(&world), 2);
    assert_eq!(world.raft(3).commit(), 2);
}

// ---- Limits ----

#[test]
fn appends_under_way_are_limited_by_number() {
    let mut world = World::new(2, |config| {
        config.max_inflight_messages = 3;
        config.max_append_bytes = 1;
    });
    world.elect(1);
    for n in 0..10 {
        world.propose(1, &format!("{n}"));
    }
    world.act(1);
    assert_eq!(world.take(2).len(), 3);
    assert!(world.raft(1).progress()[1].is_paused());
    // All three are lost; a heartbeat gets it going again.
    live(&mut world, 4);
    assert_eq!(world.node(2).payloads().len(), 10);
}

#[test]
fn appends_under_way_are_limited_by_bytes() {
    let mut world = World::new(2, |config| {
        config.max_inflight_bytes = 100;
        config.max_append_bytes = 40;
    });
    world.elect(1);
    let payload = "p".repeat(40);
    for _ in 0..10 {
        world.propose(1, &payload);
    }
    world.act(1);
    let sent = world.network.iter().map(|message| match &message.body {
        Body::Append { entries, .. } => entries.iter().map(|e| e.payload.len()).sum(),
        _ => 0,
    });
    // The limit is checked before an append goes out, so that one may exceed it.
    assert_eq!(sent.collect::<Vec<usize>>(), [40, 40, 40]);
    world.stabilize();
    assert_eq!(world.node(2).payloads().len(), 10);
}

#[test]
fn one_append_has_a_size_and_one_entry_always_fits() {
    let mut world = World::new(2, |config| config.max_append_bytes = 10);
    world.elect(1);
    world.isolate(&[2]);
    for payload in ["1234", "5678", "a long payload", "x"] {
        world.propose(1, payload);
    }
    world.stabilize();
    world.heal();
    world.tick(1);
    let mut batches = Vec::new();
    world.stabilize_with(&[1, 2], |_, _, received| {
        for message in received {
            if let Body::Append { entries, .. } = message.body
                && !entries.is_empty()
            {
                batches.push(entries.len());
            }
        }
    });
    assert_eq!(world.node(2).payloads().len(), 4);
    assert!(batches.iter().all(|len| *len <= 2), "{batches:?}");
}

#[test]
fn too_much_that_is_uncommitted_is_refused() {
    let mut world = World::new(3, |config| config.max_uncommitted_bytes = 10);
    world.elect(1);
    world.isolate(&[1]);
    world.propose(1, "larger than the limit, and alone");
    let more = vec![Bytes::from_static(b"x")];
    let refused = world.call(1, |raft, now| raft.propose(now, more.clone()));
    assert_eq!(refused, Err(ProposeError::TooMuchUncommitted));
    world.heal();
    live(&mut world, 2);
    let accepted = world.call(1, |raft, now| raft.propose(now, more));
    assert!(accepted.is_ok(), "{accepted:?}");
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

// ---- Reads ----

fn read(world: &mut World, id: NodeId, context: u64) {
    world
        .call(id, |raft, now| raft.read(now, context))
        .expect("the read is accepted");
}

#[test]
fn a_read_waits_for_a_round_of_heartbeats() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    world.propose(1, "a");
    world.stabilize();
    read(&mut world, 1, 7);
    read(&mut world, 1, 8);
    assert!(world.node(1).reads.is_empty());
    world.stabilize();
    assert_eq!(world.node(1).reads, [(7, 2), (8, 2)]);
    assert!(!world.node(1).has(&Event::LeaseRead));
}

#[test]
fn a_read_at_a_follower_asks_the_leader() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    world.propose(1, "a");
    world.stabilize();
    read(&mut world, 3, 7);
    world.stabilize();
    assert_eq!(world.node(3).reads, [(7, 2)]);
    assert!(world.node(3).has(&Event::ReadForwarded));
}

#[test]
fn a_leader_that_was_replaced_answers_no_read() {
    let mut world = World::new(3, |_| {});
    world.elect(1);
    world.isolate(&[1]);
    world.elect(2);
    world.propose(2, "newer");
    world.stabilize();
    read(&mut world, 1, 7);
    world.stabilize();
    assert!(world.node(1).reads.is_empty());
    world.heal();
    live(&mut world, 2);
    assert!(
        world.node(1).reads.is_empty(),
        "it is for the asker to ask again"
    );
}

#[test]
fn without_a_leader_a_read_is_refused() {
    let mut world = World::new(3, |_| {});
    let refused = world.call(1, |raft, now| raft.read(now, 1));
    assert_eq!(refused, Err(ReadError::NoLeader));
}

#[test]
fn reads_that_wait_are_limited() {
    let mut world = World::new(3, |config| config.max_pending_reads = 2);
    world.elect(1);
    read(&mut world, 1, 1);
    read(&mut world, 1, 2);
    let refused = world.call(1, |raft, now| raft.read(now, 3));
    assert_eq!(refused, Err(ReadError::TooManyReads));
}

#[test]
fn a_lease_answers_at_once_and_runs_out() {
    let mut world = strong(3);
    world.elect(1);
    live(&mut world, 1);
    read(&mut world, 1, 1);
    assert_eq!(world.node(1).reads, [(1, 1)]);
    assert!(world.node(1).has(&Event::LeaseRead));
    // The leader is cut off; the lease is as long as an election takes at least.
    world.isolate(&[1]);
    world.pass(1, ELECTION_TICKS * TICK);
    if world.raft(1).role() == Role::Leader {
        read(&mut world, 1, 2);
    }
    world.stabilize();
    assert_eq!(world.node(1).reads, [(1, 1)], "nobody confirmed the second");
}

#[test]
fn clocks_that_drift_make_a_lease_shorter() {
    let lease = |ppm: u32, age: u64| {
        let mut world = World::new(3, |config| {
            config.check_quorum = true;
            config.lease_reads = true;
            config.max_clock_drift_ppm = ppm;
            // So that the clock can go on without a heartbeat.
            config.heartbeat_interval = ELECTION_TICKS * TICK - 1;
        });
        world.wait(ELECTION_TICKS * TICK);
        world.elect(1);
        world.pass(1, ELECTION_TICKS * TICK - 1);
        world.stabilize();
        world.pass(1, age);
        read(&mut world, 1, 1);
        !world.node(1).reads.is_empty()
    };
    let full = ELECTION_TICKS * TICK;
    assert!(lease(0, full - 2));
    // 200 000 ppm: a lease of E * 0.8 / 1.2.
    assert!(lease(200_000, full * 2 / 3 - 1));
    assert!(!lease(200_000, full * 2 / 3 + 1));
}

#[test]
fn a_lease_is_void_once_a_campaign_was_ordered() {
    let mut world = strong(3);
    world.elect(1);
    live(&mut world, 1);
    world.isolate(&[1]);
    world.call(1, |raft, now| raft.transfer_leader(now, 2));
    read(&mut world, 1, 1);
    assert!(world.node(1).reads.is_empty());
}

/// Between an election and the first commit of the term nobody knows what is committed.
#[test]
fn a_new_leader_reads_when_an_entry_of_its_term_is_committed() {
    for mutant in [None, Some(holdfast_raft::Mutant::ReadBeforeCommitInTerm)] {
        let mut world = World::new(3, |config| config.mutant = mutant);
        world.elect(1);
        world.propose(1, "a");
        world.stabilize();
        world.campaign(2);
        world.run_until(&[1, 2, 3], |world| world.raft(2).role() == Role::Leader);
        // Appends are lost, heartbeats are not.
        read(&mut world, 2, 1);
        world.act(2);
        world
            .network
            .retain(|m| !matches!(m.body, Body::Append { .. }));
        for _ in 0..3 {
            for id in [1, 3, 2] {
                world.act(id);
                world.deliver(id);
                world
                    .network
                    .retain(|m| !matches!(m.body, Body::Append { .. }));
            }
        }
        assert_eq!(
            world.node(2).reads.is_empty(),
            mutant.is_none(),
            "{mutant:?}"
        );
        live(&mut world, 2);
        assert!(world.node(2).reads.contains(&(1, 3)) || mutant.is_some());
    }
}

#[test]
fn a_node_that_may_have_promised_a_lease_gives_no_vote_after_a_restart() {
    let mut world = strong(3);
    world.elect(1);
    world.restart(2);
    world.isolate(&[1]);
    world.pass(3, ELECTION_TICKS * TICK);
    world.campaign(3);
    world.stabilize();
    assert_ne!(
        world.raft(3).role(),
        Role::Leader,
        "node 1 may hold a lease yet"
    );
    world.pass(2, ELECTION_TICKS * TICK);
    world.campaign(3);
    world.stabilize();
    assert_eq!(world.raft(3).role(), Role::Leader);
}
