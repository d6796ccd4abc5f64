//! Three replicas of TiKV's crate `raft` with its own memory storage, driven as its documentation says.

use super::{Group, REPLICAS, payload};
use raft::{
    Config, RawNode, StateRole,
    eraftpb::{Entry, Message, MessageType},
    storage::MemStorage,
};
use slog::{Discard, Logger, o};
use std::collections::VecDeque;

pub struct Trio {
    replicas: Vec<Replica>,
    network: VecDeque<Message>,
}

struct Replica {
    node: RawNode<MemStorage>,
    applied: u64,
}

impl Trio {
    pub fn new() -> Self {
        let voters: Vec<u64> = (1..=REPLICAS).collect();
        let logger = Logger::root(Discard, o!());
        let replica = |id| {
            let config = Config {
                id,
                election_tick: 10,
                heartbeat_tick: 1,
                max_size_per_msg: 1 << 20,
                max_inflight_msgs: 256,
                pre_vote: true,
                check_quorum: true,
                ..Config::default()
            };
            let storage = MemStorage::new_with_conf_state((voters.clone(), Vec::new()));
            Replica {
                node: RawNode::new(&config, storage, &logger).expect("the configuration is sound"),
                applied: 0,
            }
        };
        let mut trio = Trio {
            replicas: (1..=REPLICAS).map(replica).collect(),
            network: VecDeque::new(),
        };
        trio.replicas[0].node.campaign().expect("it may be elected");
        trio.settle();
        assert_eq!(trio.replicas[0].node.raft.state, StateRole::Leader);
        trio
    }

    fn settle(&mut self) {
        for replica in &mut self.replicas {
            replica.work(&mut self.network);
        }
        while let Some(message) = self.network.pop_front() {
            let replica = &mut self.replicas[message.to as usize - 1];
            replica
                .node
                .step(message)
                .expect("messages of the group are sound");
            replica.work(&mut self.network);
        }
    }
}

impl Group for Trio {
    fn propose(&mut self, entries: u64) {
        // One message with all entries: `propose` takes one at a time and sends each by itself.
        let mut message = Message {
            msg_type: MessageType::MsgPropose,
            from: 1,
            ..Message::default()
        };
        for _ in 0..entries {
            let data = payload().into();
            message.entries.push(Entry {
                data,
                ..Entry::default()
            });
        }
        self.replicas[0]
            .node
            .step(message)
            .expect("it leads and keeps up");
        self.settle();
    }

    fn compact(&mut self) {
        for replica in &mut self.replicas {
            let log = &replica.node.raft.raft_log;
            let compacted = log.store.wl().compact(log.applied);
            compacted.expect("what was applied is there");
        }
    }

    fn applied(&self) -> Vec<u64> {
        self.replicas
            .iter()
            .map(|replica| replica.applied)
            .collect()
    }
}

impl Replica {
    /// Does what is ready until nothing is.
    fn work(&mut self, network: &mut VecDeque<Message>) {
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            assert!(ready.snapshot().is_empty(), "nobody falls behind");
            network.extend(ready.take_messages());
            self.applied += commands(&ready.take_committed_entries());
            {
                let mut storage = self.node.raft.raft_log.store.wl();
                storage.append(ready.entries()).expect("nothing conflicts");
                if let Some(hard_state) = ready.hs() {
                    storage.set_hardstate(hard_state.clone());
                }
            }
            network.extend(ready.take_persisted_messages());
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                let mut storage = self.node.raft.raft_log.store.wl();
                storage.mut_hard_state().set_commit(commit);
            }
            network.extend(light.take_messages());
            self.applied += commands(&light.take_committed_entries());
            self.node.advance_apply();
        }
    }
}

fn commands(entries: &[Entry]) -> u64 {
    let commands = entries.iter().filter(|entry| !entry.data.is_empty());
    commands.count() as u64
}
