//! The store against a model that keeps every revision whole, and its bytes.

mod bytes;
mod model;
mod random;
mod rules;

use holdfast_kv::{Kv, KvCommand, KvOutcome};
use holdfast_replica::{Command, StateMachine};

/// Carries out a command as a replica does: through its bytes.
fn apply(kv: &mut Kv, command: &KvCommand) -> KvOutcome {
    let payload = command.encode();
    assert_eq!(KvCommand::decode(&payload).as_ref(), Some(command));
    let outcome = kv.apply(Command {
        index: 1,
        time: 0,
        payload: &payload,
    });
    KvOutcome::decode(&outcome).expect("outcomes decode")
}

/// The store that its snapshot makes.
fn restored(kv: &Kv) -> Kv {
    let mut snapshot = Vec::new();
    kv.write_snapshot(&mut snapshot)
        .expect("memory takes everything");
    kv.read_snapshot(&mut &snapshot[..])
        .expect("what was written can be read")
}
