use crate::{Nanos, NodeId};
use std::collections::VecDeque;

/// Most heartbeat rounds whose sending time is remembered; older ones that nobody acknowledged confirm nothing.
const MAX_ROUNDS: usize = 64;

/// A read that waits: who asks, and under which name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub from: NodeId,
    pub incarnation: u64,
    pub context: u64,
}

/// Reads that wait for a quorum to confirm that this leader still leads (ReadIndex, Ongaro's dissertation §6.4), and
/// the lease that confirmed rounds of heartbeats are worth.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    /// The last round that was sent.
    round: u64,
    /// The last round that a quorum acknowledged.
    confirmed: u64,
    /// When rounds were sent.
    sent: VecDeque<(u64, Nanos)>,
    lease_start: Option<Nanos>,
    lease_void: bool,
    /// Each with the round that has to be confirmed.
    waiting: VecDeque<(u64, Read)>,
}

impl Reads {
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn round(&self) -> u64 {
        self.round
    }

    pub fn begin_round(&mut self, now: Nanos) -> u64 {
        self.round += 1;
        if self.sent.len() == MAX_ROUNDS {
            self.sent.pop_front();
        }
        self.sent.push_back((self.round, now));
        self.round
    }

    /// Adds a read; whether a round should be begun for it, because none is under way.
    pub fn add(&mut self, read: Read) -> bool {
        let idle = self.waiting.is_empty();
        // A round that is under way was sent before the read began: only the next one speaks for it.
        self.waiting.push_back((self.round + 1, read));
        idle
    }

    /// Whether reads wait for a round that has not been begun while none is under way for others.
    pub fn wants_round(&self) -> bool {
        self.waiting
            .front()
            .is_some_and(|(round, _)| *round > self.round)
    }

    /// A quorum has acknowledged `round`.
    pub fn confirm(&mut self, round: u64) {
        let round = round.min(self.round);
        if round <= self.confirmed {
            return;
        }
        self.confirmed = round;
        while let Some((sent, at)) = self.sent.pop_front_if(|(sent, _)| *sent <= round) {
            if sent == round {
                self.lease_start = Some(at);
            }
        }
    }

    pub fn take_confirmed(&mut self) -> Vec<Read> {
        let mut ready = Vec::new();
        while let Some((_, read)) = self
            .waiting
            .pop_front_if(|(round, _)| *round <= self.confirmed)
        {
            ready.push(read);
        }
        ready
    }

    pub fn lease_start(&self) -> Option<Nanos> {
        self.lease_start.filter(|_| !self.lease_void)
    }

    /// No more lease in this term.
    pub fn void_lease(&mut self) {
        self.lease_void = true;
    }
}
