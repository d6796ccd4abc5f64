//! Three of our cores, and for each a vector that stands for its disk.

use super::{Group, REPLICAS, payload};
use bytes::Bytes;
use holdfast_raft::{
    Config, Entry, Membership, Message, Output, Persist, Raft, Recovered, Role, SnapshotMeta,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::collections::VecDeque;

/// Behind everybody's first patience and before anything is due.
const NOW: u64 = 10_000_000_000;
const SECOND: u64 = 1_000_000_000;

pub struct Trio {
    replicas: Vec<Replica>,
    network: VecDeque<Message>,
}

struct Replica {
    raft: Raft,
    stored: Vec<Entry>,
    applied: u64,
}

impl Trio {
    pub fn new() -> Self {
        let membership = Membership {
            voters: (1..=REPLICAS).collect(),
            learners: Vec::new(),
        };
        let replica = |id| {
            let config = Config {
                id,
                membership: membership.clone(),
                election_timeout: SECOND,
                heartbeat_interval: SECOND / 10,
                max_inflight_messages: 256,
                max_inflight_bytes: 1 << 30,
                max_append_bytes: 1 << 20,
                max_uncommitted_bytes: 1 << 30,
                max_apply_bytes: 1 << 30,
                max_pending_reads: 1,
                pre_vote: true,
                check_quorum: true,
                lease_reads: false,
                max_clock_drift_ppm: 0,
                mutant: None,
            };
            let rng = ChaCha8Rng::seed_from_u64(id);
            Replica {
                raft: Raft::new(config, Recovered::default(), rng, 0)
                    .expect("the configuration is sound"),
                stored: Vec::new(),
                applied: 0,
            }
        };
        let mut trio = Trio {
            replicas: (1..=REPLICAS).map(replica).collect(),
            network: VecDeque::new(),
        };
        trio.replicas[0].raft.campaign(NOW);
        trio.settle();
        assert_eq!(trio.replicas[0].raft.role(), Role::Leader);
        trio
    }

    fn settle(&mut self) {
        for replica in &mut self.replicas {
            replica.work(&mut self.network);
        }
        while let Some(message) = self.network.pop_front() {
            let replica = &mut self.replicas[message.to as usize - 1];
            replica.raft.handle_message(NOW, message);
            replica.work(&mut self.network);
        }
    }
}

impl Group for Trio {
    fn propose(&mut self, entries: u64) {
        let payloads = (0..entries).map(|_| Bytes::from(payload())).collect();
        let proposed = self.replicas[0].raft.propose(NOW, payloads);
        proposed.expect("it leads and keeps up");
        self.settle();
    }

    fn compact(&mut self) {
        for replica in &mut self.replicas {
            let index = replica.raft.applied();
            let term = replica.raft.term_at(index).expect("it is in memory");
            let membership = replica.raft.membership().clone();
            replica.raft.handle_snapshot_durable(SnapshotMeta {
                index,
                term,
                membership,
            });
            replica.raft.compact(index);
            replica.stored.retain(|entry| entry.index > index);
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
    /// Does what the core asks for until it asks for nothing.
    fn work(&mut self, network: &mut VecDeque<Message>) {
        while let Some(output) = self.raft.poll_output() {
            match output {
                Output::Send(message) => network.push_back(message),
                Output::Persist(persist) => self.persist(persist, network),
                Output::Apply(entries) => self.apply(&entries),
                Output::ReadReady { .. } | Output::ReadRefused { .. } => {
                    unreachable!("nobody reads")
                }
                Output::ProposalRefused { .. } => unreachable!("the leader is asked, and has room"),
                Output::Event(_) => {}
            }
        }
    }

    fn persist(&mut self, persist: Persist, network: &mut VecDeque<Message>) {
        assert!(persist.snapshot.is_none(), "nobody falls behind");
        if let (Some(new), Some(last)) = (persist.entries.first(), self.stored.last()) {
            assert_eq!(new.index, last.index + 1, "nothing conflicts");
        }
        self.stored.extend(persist.entries);
        network.extend(persist.after);
        self.raft.handle_persisted(NOW, persist.id);
    }

    fn apply(&mut self, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        let commands = entries.iter().filter(|entry| !entry.payload.is_empty());
        self.applied += commands.count() as u64;
        self.raft.handle_applied(NOW, last.index);
    }
}
