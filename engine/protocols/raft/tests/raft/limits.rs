//! What a leader keeps under way, and what it refuses.

use crate::{cluster::live, world::World};
use bytes::Bytes;
use holdfast_raft::{Body, ProposeError};

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
