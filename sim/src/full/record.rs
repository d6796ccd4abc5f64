//! What is written down of a run: the trace, the timeline, counts and failures.

use super::{
    connection::{Control, End},
    core::{Core, Counts, Machine},
    disk::DiskOperation,
};
use crate::draw::bytes_hash;
use holdfast_record::{Failure, TimelineEvent};
use std::{net::SocketAddr, task::Context};

/// What the trace tells apart. The numbers are part of what a trace hash means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Kind {
    Segment = 1,
    Control = 2,
    Datagram = 3,
    Fault = 4,
    Disk = 16,
}

impl Core {
    pub(super) fn count_fault(&mut self, kind: &str) {
        match self.counts.faults.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                self.counts.faults.insert(kind.to_owned(), 1);
            }
        }
    }

    pub(super) fn all_counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        let links = self.links.counts();
        for (kind, count) in [
            ("packet_lost", links.lost),
            ("packet_duplicated", links.duplicated),
            ("packet_blocked", links.blocked),
            ("packet_held", links.held),
            ("packet_overflowed", links.overflowed),
        ] {
            if count > 0 {
                counts.faults.insert(kind.to_owned(), count);
            }
        }
        counts
    }

    pub(super) fn fail(&mut self, property: &str, message: String, node: Option<u32>) {
        self.failures.push(Failure {
            property: property.to_owned(),
            message,
            at_ns: self.now,
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
            Kind::Fault as u16,
            incarnation,
            machine as u64,
        );
        let at = self.now;
        self.trace.timeline(|timeline| {
            timeline.push(TimelineEvent::State {
                at,
                lane: node,
                state: match machine {
                    Machine::Running => "recovering",
                    Machine::Dead | Machine::Off => "down",
                }
                .to_owned(),
                term: 0,
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
