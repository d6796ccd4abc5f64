//! The liveness phase: what the healthy core owes its clients when the faults have ended.

use super::{
    client::ClientState,
    cluster::{Cluster, Event},
    workload::{Operation, Workload},
};
use crate::{
    check::Violation,
    draw::{self, Domain, Draws},
};
use holdfast_replica::Consistency;

/// How many election timeouts after the last fault a call must find a leader.
const ELECTIONS: u64 = 5;

/// The entity of [`Domain::Scenario`] that orders leadership to be handed over; clients are numbered from zero.
const ADMINISTRATOR: u64 = 1 << 40;

impl<W: Workload> Cluster<W> {
    /// Whether this node is one of those that must be well in the end.
    pub(super) fn is_in_core(&self, node: u32) -> bool {
        self.setup.plan.outcasts.iter().all(|o| o.node != node)
    }

    /// The faults have ended.
    pub(super) fn healed(&mut self) {
        self.workload.healed();
    }

    /// When the system must have found its way back: calls from then on are owed an answer.
    fn well_at(&self) -> u64 {
        let plan = &self.setup.plan;
        let settling = ELECTIONS * self.setup.settings.raft.election_timeout;
        plan.horizon_ns + settling.min(plan.liveness_ns / 3)
    }

    /// A call was answered: perhaps one of those that each client needs.
    pub(super) fn note_served(&mut self, client: u32, operation: &Operation<W::Call, W::Answer>) {
        if operation.called < self.well_at() {
            return;
        }
        let state = &mut self.clients[client as usize];
        match self.workload.is_command(&operation.call) {
            true => state.has_written = true,
            false => {
                let consistency = self.workload.consistency(&operation.call);
                state.has_read |= consistency == Consistency::Linearizable;
            }
        }
    }

    /// What `client` asks before it stops: until it has written and read, anything; then what its workload still has
    /// to know. It goes from node to node, since one of those that stay unwell may answer and know nothing new.
    pub(super) fn closing_call(&mut self, client: u32) -> Option<W::Call> {
        let state = &mut self.clients[client as usize];
        state.node += 1;
        match state.has_written && state.has_read {
            true => self.workload.closing(client),
            false => Some(self.workload.call(client)),
        }
    }

    /// After the faults have stopped: in the core one leader and equal states, and every client got its answers.
    pub(super) fn check_liveness(&mut self) {
        let core: Vec<u32> = (0..self.nodes.len() as u32)
            .filter(|node| self.is_in_core(*node))
            .collect();
        let mut leaders = 0;
        for &node in &core {
            leaders += u32::from(self.nodes[node as usize].is_leader());
        }
        if leaders != 1 {
            let message = format!("{leaders} leaders long after the last fault");
            return self.violate(Violation::new("liveness", message));
        }
        for client in &self.clients {
            if !matches!(client.state, ClientState::Finished) {
                let message = format!(
                    "client {} still waits for an answer long after the last fault: {}",
                    client.id,
                    client.describe()
                );
                return self.violate(Violation::new("liveness", message));
            }
        }
        let expected = (self.reference.applied(), self.reference.digest());
        for &node in &core {
            let Some(running) = &self.nodes[node as usize].running else {
                let message = "a node is down long after the last fault";
                return self.violate(Violation::new("liveness", message).at(node));
            };
            let state = running.replica.state();
            let found = (state.applied(), state.digest());
            if found.0 != expected.0 {
                let message = format!("applied {} of {} entries", found.0, expected.0);
                return self.violate(Violation::new("convergence", message).at(node));
            }
            if found.1 != expected.1 {
                let message = format!(
                    "after entry {} its state has digest {:016x}, the log leads to {:016x}",
                    found.0, found.1, expected.1
                );
                return self.violate(Violation::new("equal-state", message).at(node));
            }
        }
        if !self.setup.plan.outcasts.is_empty() {
            self.mark("recovered-without-outcasts");
        }
    }

    /// The `n`-th order to hand leadership over comes after a drawn while.
    pub(super) fn schedule_transfer(&mut self, n: u64) {
        let Some(every) = self.setup.transfers_every else {
            return;
        };
        let bits = draw::draw(self.setup.plan.seed, Domain::Scenario, ADMINISTRATOR, n);
        let at = self.now + 1 + draw::exponential(bits, every);
        if at < self.setup.plan.horizon_ns {
            self.heap.push(at, Event::Transfer { n });
        }
    }

    /// Somebody asks a node, mostly the leader, that a drawn node lead from now on.
    pub(super) fn transfer(&mut self, n: u64) {
        self.schedule_transfer(n + 1);
        let seed = self.setup.plan.seed;
        let mut draws = Draws::new(seed, Domain::Scenario, ADMINISTRATOR + 1 + n);
        let nodes = u64::from(self.setup.plan.nodes);
        let (any, to) = (draws.range(0, nodes) as u32, draws.range(0, nodes) + 1);
        let asked = match draws.chance(0.7) {
            true => self.leader().unwrap_or(any),
            false => any,
        };
        let now = self.now;
        let machine = &mut self.nodes[asked as usize];
        let mono = machine.clock.monotonic(now).as_nanos();
        let Some(running) = &mut machine.running else {
            return;
        };
        if now < machine.paused_until {
            return;
        }
        running.replica.transfer_leader(mono, to);
        self.trace.record(now, asked, 15, n, to);
        self.drain(asked);
    }
}
