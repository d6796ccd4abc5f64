//! What is written down of a run: the trace, the timeline, counts and failures.

use super::{
    connection::{Control, End},
    core::{Core, Counts, Machine},
    disk::DiskOperation,
    net::NOWHERE,
};
use crate::{draw::bytes_hash, plan::Strike};
use holdfast_record::{Failure, TimelineEvent};
use std::{net::SocketAddr, task::Context};

/// What the trace tells apart. The numbers are part of what a trace hash means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Kind {
    Segment = 1,
    Control = 2,
    Datagram = 3,
    Machine = 4,
    Strike = 5,
    State = 6,
    Disk = 16,
}

impl Core {
    pub(super) fn count_fault(&mut self, kind: &'static str) {
        *self.counts.faults.entry(kind).or_default() += 1;
    }

    pub(super) fn all_counts(&self) -> Counts {
        Counts {
            links: self.links.counts(),
            ..self.counts.clone()
        }
    }

    pub(super) fn fail(&mut self, property: &str, message: String, node: Option<u32>) {
        let at = self.now;
        self.trace.timeline(|timeline| {
            timeline.push(TimelineEvent::Violation {
                at,
                lane: node,
                property: property.to_owned(),
                message: message.clone(),
            });
        });
        self.failures.push(Failure {
            property: property.to_owned(),
            message,
            at_ns: at,
            node,
        });
    }

    /// Ends the run: the scenario is not polled again.
    pub(super) fn stop(&mut self, property: &str, message: &str) {
        self.fail(property, message.to_owned(), None);
        self.stopped = true;
        let scenario = self.scenario.take();
        self.effects.wake(scenario);
    }

    pub(super) fn poll_stopped(&mut self, cx: &Context<'_>) -> bool {
        self.effects.park(&mut self.scenario, cx);
        self.stopped
    }

    pub(super) fn trace_segment(
        &mut self,
        node: u32,
        serial: u64,
        from: End,
        number: u64,
        hash: u64,
    ) {
        let place = (serial << 1 | from as u64).rotate_left(32) ^ number;
        self.trace
            .record(self.now, node, Kind::Segment as u16, place, hash);
    }

    pub(super) fn trace_control(&mut self, node: u32, serial: u64, from: End, control: Control) {
        let place = serial << 1 | from as u64;
        self.trace
            .record(self.now, node, Kind::Control as u16, place, control as u64);
    }

    pub(super) fn trace_datagram(
        &mut self,
        node: u32,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) {
        let ports = u64::from(from.port()) << 16 | u64::from(to.port());
        self.trace.record(
            self.now,
            node,
            Kind::Datagram as u16,
            ports,
            bytes_hash(payload),
        );
    }

    pub(super) fn trace_disk(
        &mut self,
        node: u32,
        operation: DiskOperation,
        file: u64,
        offset: u64,
        bytes: &[u8],
    ) {
        let kind = Kind::Disk as u16 + operation as u16;
        let place = file.rotate_left(48) ^ offset;
        self.trace
            .record(self.now, node, kind, place, bytes_hash(bytes));
    }

    pub(super) fn trace_machine(&mut self, node: u32, machine: Machine) {
        let incarnation = u64::from(self.nodes[node as usize].incarnation);
        self.trace.record(
            self.now,
            node,
            Kind::Machine as u16,
            incarnation,
            machine as u64,
        );
        let state = match machine {
            Machine::Running => "recovering",
            Machine::Dead | Machine::Off => "down",
        };
        if node < self.plan.nodes {
            self.draw_state(node, state, 0);
        }
    }

    pub(super) fn trace_strike(&mut self, fault: u32, strike: &Strike) {
        let struck = strike.endpoints().into_iter();
        let mask = struck.fold(0, |mask, endpoint| mask | 1u64 << (endpoint % 64));
        let kind = Kind::Strike as u16;
        self.trace
            .record(self.now, NOWHERE, kind, u64::from(fault), mask);
    }

    /// The scenario says what the process on `node` is; nothing happens when it said so before.
    pub(super) fn note_role(&mut self, node: u32, role: &'static str, term: u64) {
        if self.nodes[node as usize].role == (role, term) {
            return;
        }
        self.nodes[node as usize].role = (role, term);
        let kind = Kind::State as u16;
        let hash = bytes_hash(role.as_bytes());
        self.trace.record(self.now, node, kind, term, hash);
        self.draw_state(node, role, term);
        if role == super::world::LEADER {
            self.elected(node);
        }
    }

    pub(super) fn draw_state(&mut self, node: u32, state: &str, term: u64) {
        let at = self.now;
        self.trace.timeline(|timeline| {
            timeline.push(TimelineEvent::State {
                at,
                lane: node,
                state: state.to_owned(),
                term,
            });
        });
    }

    /// A packet in the picture: sent now, arriving at `arrives` or lost.
    pub(super) fn draw_packet(
        &mut self,
        from: u32,
        to: u32,
        arrives: Option<u64>,
        label: impl FnOnce() -> String,
    ) {
        let at = self.now;
        self.trace.timeline(|timeline| {
            timeline.push(TimelineEvent::Message {
                at,
                from,
                to,
                arrives,
                label: label(),
            });
        });
    }
}
