//! How processes begin and end, and what happens between them and their disks.

use super::{
    cluster::{Cluster, Event},
    faults::Crash,
    node::{Device, Running, Starting},
    workload::Workload,
};
use crate::{
    check::{
        Violation,
        raft::{recovered_log, recovered_vote},
    },
    draw::{self, Domain},
};
use holdfast_host::Disk;
use holdfast_replica::{Replica, Store, StoreCommand, StoreError, StoreOptions};
use std::path::Path;

/// Where a replica keeps its files on its machine's disk.
const DIRECTORY: &str = "/data";
/// Its log, and its term and vote: after a sync nothing of these may be at risk.
const SYNCED: [&str; 2] = ["/data/log", "/data/hard-state"];

/// After how long a process that stopped by itself is started again, nanoseconds.
pub(super) const RESTART_NS: u64 = 500_000_000;

/// Set in the entities of [`Domain::DiskTime`] that stand for a process; disks are entities by their node's number.
const PROCESS: u64 = 1 << 63;

impl<W: Workload> Cluster<W> {
    /// Starts a process on a machine that has none: it recovers, and takes part when its device has read everything.
    pub(super) fn start_node(&mut self, node: u32) {
        let now = self.now;
        let mut settings = self.setup.settings.clone();
        settings.raft.id = u64::from(node) + 1;
        let options = StoreOptions {
            segment_bytes: self.setup.segment_bytes,
            max_entry_bytes: Replica::<W::Machine>::max_entry_bytes(&settings) as u32,
            group: 1,
            snapshot_chunk_bytes: self.setup.snapshot_chunk_bytes,
            node: settings.raft.id,
            mutant: settings.mutant,
        };
        let machine = &mut self.nodes[node as usize];
        assert!(!machine.is_up());
        machine.incarnation += 1;
        machine.clock.restart(now);
        let incarnation = machine.incarnation;
        let directory = Path::new(DIRECTORY);
        let opened = machine
            .disk
            .create_dir(directory)
            .map_err(Into::into)
            .and_then(|()| {
                let template = self.setup.machine.clone();
                Store::open(&mut machine.disk, directory, options, template)
            });
        let took = machine.disk.take_elapsed() * machine.slowness.max(1);
        let (store, recovered) = match opened {
            Err(error) if !machine.disk.power_failed() && !machine.has_new_errors() => {
                let message = format!("a replica cannot start after a crash: {error}");
                return self.violate(Violation::new("recovery", message).at(node));
            }
            other => match self.stored(node, other) {
                Some(opened) => opened,
                None => return,
            },
        };
        let machine = &mut self.nodes[node as usize];
        let id = u64::from(node) + 1;
        let snapshot = recovered.snapshot.as_ref().map_or(0, |s| s.meta.index);
        let last = recovered.entries.last().map_or(snapshot, |e| e.index);
        let checked = recovered_vote(id, recovered.hard_state, machine.durable, &machine.votes)
            .and_then(|()| match snapshot > machine.snapshot {
                // It took the place of a log that did not fit it.
                true => Ok(()),
                false => recovered_log(id, last, machine.promised),
            });
        machine.snapshot = snapshot;
        machine.promised = last;
        let before = recovered.snapshot.as_ref().map(|s| s.meta.term);
        let before = before.filter(|_| {
            let first = recovered.entries.first();
            first.is_some_and(|e| e.index == snapshot + 1)
        });
        let checked = checked.and_then(|()| self.checker.appended(id, before, &recovered.entries));
        let torn = recovered.repaired.is_some();
        let device = Device {
            is_busy: true,
            due: now + took,
            ..Device::default()
        };
        let generation = device.generation;
        machine.starting = Some(Box::new(Starting {
            store,
            recovered,
            device,
        }));
        self.heap.push(
            now + took,
            Event::Started {
                node,
                incarnation,
                generation,
            },
        );
        self.check(checked);
        self.trace
            .record(now, node, 3, u64::from(incarnation), u64::from(torn));
        if torn {
            self.mark("torn-tail-repaired");
        }
        self.note_state(node, "recovering", 0);
    }

    /// A process has recovered.
    pub(super) fn started(&mut self, node: u32, incarnation: u32, generation: u32) {
        let now = self.now;
        let seed = self.setup.plan.seed;
        let mut settings = self.setup.settings.clone();
        settings.raft.id = u64::from(node) + 1;
        let machine = &mut self.nodes[node as usize];
        if machine.incarnation != incarnation {
            return;
        }
        let is_due = |starting: &mut Box<Starting<W>>| starting.device.generation == generation;
        let Some(starting) = machine.starting.take_if(is_due) else {
            return;
        };
        let Starting {
            store, recovered, ..
        } = *starting;
        let mono = machine.clock.monotonic(now).as_nanos();
        let origin = draw::draw(
            seed,
            Domain::Scenario,
            u64::MAX - u64::from(node),
            u64::from(incarnation),
        );
        let rng = draw::node_rng(seed, node, incarnation, "replica", 0);
        let replica = Replica::new(settings, recovered, origin, rng, mono)
            .expect("the scenario's settings are valid");
        let term = replica.raft().term();
        machine.running = Some(Running::new(replica, store));
        self.checker.restarted(u64::from(node) + 1);
        self.trace.record(now, node, 14, mono, term);
        self.note_state(node, "follower", term);
        self.drain(node);
    }

    /// Starts a process where there should be one and is none.
    pub(super) fn bring_up(&mut self, node: u32) {
        if !self.nodes[node as usize].is_up() && !self.is_given_up(node) {
            self.start_node(node);
        }
    }

    /// Ends the process; what becomes of unsynced bytes is the caller's matter.
    pub(super) fn stop_node(&mut self, node: u32) {
        let now = self.now;
        let machine = &mut self.nodes[node as usize];
        machine.running = None;
        machine.starting = None;
        machine.paused_until = 0;
        self.trace
            .record(now, node, 4, u64::from(machine.incarnation), 0);
        self.note_state(node, "down", 0);
    }

    /// Gives the device its next batch.
    pub(super) fn pump(&mut self, node: u32) {
        let now = self.now;
        let machine = &mut self.nodes[node as usize];
        let Some(running) = &mut machine.running else {
            return;
        };
        if running.device.is_busy || running.queue.is_empty() {
            return;
        }
        running.device.is_busy = true;
        let has_vote = |command: &StoreCommand<W::Machine>| {
            matches!(
                command,
                StoreCommand::Persist {
                    hard_state: Some(_),
                    ..
                }
            )
        };
        if machine.cut_at_vote.is_some() && running.queue.iter().any(has_vote) {
            let left = machine.cut_at_vote.take();
            machine.disk.cut_after(left.unwrap_or(0));
        }
        let mut written = Ok(());
        while let Some(command) = running.queue.pop_front() {
            if let StoreCommand::Persist {
                entries, install, ..
            } = &command
            {
                // What is replaced need not be found again, even if the replacing is never finished.
                let install = install.as_ref().map(|meta| meta.index);
                let first = entries.first().map(|entry| entry.index - 1);
                let kept = install.into_iter().chain(first).min();
                machine.promised = kept.map_or(machine.promised, |k| k.min(machine.promised));
            }
            written = running.store.write(&mut machine.disk, command);
            if written.is_err() {
                break;
            }
        }
        if self.stored(node, written).is_none() {
            return;
        }
        let seed = self.setup.plan.seed;
        let profile = &self.setup.plan.disk;
        let machine = &mut self.nodes[node as usize];
        let incarnation = machine.incarnation;
        let written = machine.disk.take_elapsed();
        let Some(running) = &mut machine.running else {
            return;
        };
        let device = &mut running.device;
        let process = PROCESS | u64::from(node) << 32 | u64::from(incarnation);
        let tail = draw::draw(seed, Domain::DiskTime, process, device.batches);
        let sync = profile.sync_min_ns + draw::exponential(tail, profile.sync_tail_ns);
        device.batches += 1;
        device.generation += 1;
        device.due = now + (written + sync) * machine.slowness.max(1);
        let (at, generation) = (device.due, device.generation);
        self.heap.push(
            at,
            Event::Synced {
                node,
                incarnation,
                generation,
            },
        );
    }

    /// The device has finished a batch: everything written before is on the platter.
    pub(super) fn synced(&mut self, node: u32, incarnation: u32, generation: u32) {
        let now = self.now;
        let machine = &mut self.nodes[node as usize];
        let Some(running) = &mut machine.running else {
            return;
        };
        if machine.incarnation != incarnation || running.device.generation != generation {
            return;
        }
        running.device.is_busy = false;
        let synced = running.store.sync(&mut machine.disk);
        // The batch's time has passed already.
        machine.disk.take_elapsed();
        let Some(done) = self.stored(node, synced) else {
            return;
        };
        let machine = &mut self.nodes[node as usize];
        let Some(running) = &mut machine.running else {
            return;
        };
        machine.durable = running.store.durable_hard_state();
        machine.promised = running.store.durable_index();
        let loose = SYNCED
            .iter()
            .find_map(|path| machine.disk.unsynced(Path::new(path)));
        self.trace.record(now, node, 6, done.len() as u64, 0);
        let mono = machine.clock.monotonic(now).as_nanos();
        for done in done {
            running.replica.handle_stored(mono, done);
        }
        if let Some(file) = loose {
            let message = format!("`{file}` is not on the platter after a sync that succeeded");
            self.violate(Violation::new("platter", message).at(node));
        }
        self.drain(node);
    }

    /// What came of an operation of the store. `None`: the process has ended over it, by a power cut or a failed sync.
    fn stored<T>(&mut self, node: u32, result: Result<T, StoreError>) -> Option<T> {
        let machine = &mut self.nodes[node as usize];
        if machine.disk.power_failed() {
            self.mark("power-failed-in-a-storage-operation");
            self.crash(node, Crash::Power);
            return None;
        }
        let failed = machine.has_new_errors();
        match result {
            Ok(value) if !failed => Some(value),
            Ok(_) => {
                machine.errors_seen = machine.disk.counts().errors;
                let message = "the device reported an error, and the store says that all is well";
                self.violate(Violation::new("error-swallowed", message).at(node));
                None
            }
            Err(_) if failed => {
                self.storage_failed(node);
                None
            }
            Err(error) => {
                let message = format!("storage failed without a fault: {error}");
                self.violate(Violation::new("storage", message).at(node));
                None
            }
        }
    }

    /// A replica that cannot write stops: what a failed sync has left behind is anybody's guess. It is started again
    /// after a while, as a supervisor would.
    fn storage_failed(&mut self, node: u32) {
        let machine = &mut self.nodes[node as usize];
        machine.errors_seen = machine.disk.counts().errors;
        self.mark("stopped-by-a-failed-sync");
        self.count_fault("sync_error");
        self.crash(node, Crash::Kill);
        let at = self.now + RESTART_NS;
        self.heap.push(at, Event::Restart { node });
    }

    /// From now on a device is this much slower than usual, also with what it has begun.
    pub(super) fn set_slowness(&mut self, node: u32, factor: u64) {
        let now = self.now;
        let machine = &mut self.nodes[node as usize];
        let before = std::mem::replace(&mut machine.slowness, factor);
        let incarnation = machine.incarnation;
        let is_starting = machine.starting.is_some();
        let starting = machine.starting.as_mut().map(|s| &mut s.device);
        let running = machine.running.as_mut().map(|r| &mut r.device);
        let Some(device) = starting.or(running) else {
            return;
        };
        if !device.is_busy || before == factor {
            return;
        }
        device.due = now + device.due.saturating_sub(now) / before * factor;
        device.generation += 1;
        let (at, generation) = (device.due, device.generation);
        let event = match is_starting {
            true => Event::Started {
                node,
                incarnation,
                generation,
            },
            false => Event::Synced {
                node,
                incarnation,
                generation,
            },
        };
        self.heap.push(at, event);
    }
}
