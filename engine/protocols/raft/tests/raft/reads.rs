//! Linearizable reads: by rounds of heartbeats, by lease, at leaders and followers.

use crate::{
    cluster::{live, strong},
    world::{ELECTION_TICKS, TICK, World},
};
use holdfast_raft::{Body, Event, Mutant, NodeId, ReadError, Role};

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

/// Also when the transfer is off and rounds are confirmed again: the order may be on its way yet.
#[test]
fn a_lease_stays_void_when_the_transfer_is_given_up() {
    let mut world = strong(3);
    world.elect(1);
    live(&mut world, 1);
    world.call(1, |raft, now| raft.transfer_leader(now, 2));
    world.act(1);
    world
        .network
        .retain(|message| message.body != Body::TimeoutNow);
    for _ in 0..2 * ELECTION_TICKS {
        world.tick(1);
        world.stabilize();
    }
    let raft = world.raft(1);
    assert_eq!(raft.role(), Role::Leader);
    world
        .call(1, |raft, now| raft.propose(now, vec!["a".into()]))
        .expect("the transfer is off");
    world.stabilize();
    read(&mut world, 1, 1);
    assert!(world.node(1).reads.is_empty(), "a quorum is asked");
    world.stabilize();
    assert_eq!(world.node(1).reads.len(), 1);
    assert!(!world.node(1).has(&Event::LeaseRead));
}

/// Node 2 hears from the leader and has promised to wait; node 3 has promised nothing.
#[test]
fn who_promised_a_lease_does_not_campaign_even_when_told_to() {
    let mut world = World::new(3, |config| {
        config.check_quorum = true;
        config.lease_reads = config.id != 3;
    });
    world.wait(ELECTION_TICKS * TICK);
    world.elect(1);
    live(&mut world, 1);
    world.isolate(&[1]);
    let go_on = |world: &mut World, id| {
        let node = world.nodes.get_mut(&id).expect("there is such a node");
        node.now += ELECTION_TICKS * TICK;
    };
    go_on(&mut world, 3);
    world.campaign(2);
    world.stabilize();
    assert_ne!(world.raft(2).role(), Role::Leader);
    go_on(&mut world, 2);
    world.campaign(2);
    world.stabilize();
    assert_eq!(world.raft(2).role(), Role::Leader);
}

#[test]
fn a_read_that_the_leader_has_no_room_for_is_refused() {
    let mut world = World::new(3, |config| config.max_pending_reads = 1);
    world.elect(1);
    world.isolate(&[2]);
    read(&mut world, 3, 7);
    read(&mut world, 3, 8);
    world.act(3);
    world.deliver(1);
    world.act(1);
    world.deliver(3);
    assert_eq!(world.node(3).refused.reads, [8]);
}

/// Between an election and the first commit of the term nobody knows what is committed.
#[test]
fn a_new_leader_reads_when_an_entry_of_its_term_is_committed() {
    for mutant in [None, Some(Mutant::ReadBeforeCommitInTerm)] {
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

/// Names of reads begin anew with a start of the node.
#[test]
fn an_answer_to_an_earlier_incarnation_is_not_for_this_one() {
    for (mutant, expected) in [(None, 3), (Some(Mutant::ReadNamesReused), 2)] {
        let mut world = World::new(3, |config| config.mutant = mutant);
        world.elect(1);
        world.propose(1, "a");
        world.stabilize();
        read(&mut world, 3, 1);
        world.stabilize_with(&[1, 2], |_, _, _| {});
        world.act(3);
        world.stabilize_with(&[1, 2], |_, _, _| {});
        let late = world.take(3);
        world.restart(3);
        live(&mut world, 1);
        world.propose(1, "b");
        world.stabilize();
        read(&mut world, 3, 1);
        for message in late {
            world.hand_over(message);
        }
        world.stabilize();
        assert_eq!(
            world.node(3).reads.first(),
            Some(&(1, expected)),
            "{mutant:?}"
        );
    }
}
