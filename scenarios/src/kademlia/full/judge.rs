//! Long after the last fault: every node knows others, lookups find the closest nodes of all who run, what was stored is
//! there and found, and whoever is stopped is back as who he was.

use super::{
    PEOPLE,
    census::{Census, Stored},
    choose::SETTLING,
    ledger::Item,
    people::{Person, holders, item_lifetime, peer_lifetime},
    stage::{Door, Stage},
};
use holdfast_host::Host;
use holdfast_kademlia::{Id, Request};
use holdfast_peers::{ITEM_INTERVAL, Outcome, Report};
use holdfast_sim::plan::FaultKind;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::sync::Notify;

/// Contacts of a bucket, and the nodes that hold what is stored.
const K: usize = 8;
/// Nodes that look things up.
const LOOKING: usize = 24;
/// How many of the k closest nodes may be missed in all lookups together: fewer than 2 in 100.
const RECALL: (usize, usize) = (2, 100);
/// Items and torrents that are looked for.
const ITEMS: usize = 40;
/// How often one item is changed and looked for.
const REWRITTEN: i64 = 6;
/// Pauses between requests: nodes answer five queries a second of one source for ever.
const PAUSE: Duration = Duration::from_millis(300);
/// Before what is stored has expired, as far as clocks are right.
const NEARLY: Duration = Duration::from_secs(120);
/// What storing again may take beyond its interval.
const RENEWED: Duration = Duration::from_secs(120);
/// How long nodes that were stopped have to be back.
const BACK: Duration = Duration::from_secs(60);

/// Looks at everything; how much was asked.
pub(super) async fn judge(stage: Stage, host: Host, stops: Arc<Vec<Notify>>) -> u64 {
    let Some(census) = Census::new(&stage, &host).await else {
        return 0;
    };
    let mut judge = Judge {
        person: Person::new(&stage, &host, PEOPLE),
        stage,
        host,
        census,
    };
    judge.all_run();
    judge.know_others().await;
    judge.find_closest().await;
    judge.items(false).await;
    judge.peers(false).await;
    judge.compare().await;
    judge.read_after_put().await;
    if let Some(last) = judge.stage.chosen.last_look {
        let world = judge.stage.world.clone();
        world.sleep_until(world.horizon() + last).await;
        judge.find_closest().await;
        judge.items(true).await;
        judge.peers(true).await;
    }
    judge.nothing_left().await;
    judge.stop_some(&stops).await;
    judge.tell_marks();
    judge.person.asked + judge.census.asked
}

struct Judge {
    stage: Stage,
    host: Host,
    person: Person,
    census: Census,
}

impl Judge {
    fn fail(&self, property: &str, message: String, node: Option<u32>) {
        self.stage.world.fail(property, message, node);
    }

    fn all_run(&self) {
        for node in 0..self.stage.world.plan().nodes {
            if self.stage.door(node).is_none() {
                let message = "it does not run long after the last fault".to_owned();
                self.fail("recovery", message, Some(node));
            }
        }
    }

    async fn pause(&self) {
        self.host.sleep(PAUSE).await;
    }

    async fn know_others(&self) {
        for door in self.stage.doors() {
            let status = door.handle.status();
            let Some(status) = self.stage.at_once(&self.host, &door, status).await else {
                continue;
            };
            for family in &status.nodes[0].families {
                let others = self.stage.truth(family.family, door.id, door.node).len();
                let table = family.table;
                if table.good + table.questionable < others.min(K) {
                    let message = format!(
                        "{:.0} s after the last fault its table is {table:?}, and there are {others} others",
                        SETTLING.as_secs_f64()
                    );
                    self.fail("knows-others", message, Some(door.node));
                }
            }
        }
    }

    /// Some nodes by lot.
    fn some(&mut self, count: usize) -> Vec<Door> {
        let mut doors = self.stage.doors();
        self.person.draws.shuffle(&mut doors);
        doors.truncate(count);
        doors
    }

    async fn find_closest(&mut self) {
        let (mut wanted, mut missing) = (0, 0);
        let mut last = String::new();
        for door in self.some(LOOKING) {
            let target = self.person.some_id();
            let Some(outcome) = self.person.run(&door, Request::FindNode { target }).await else {
                continue;
            };
            for report in &outcome.reports {
                let (of, lost) = self.check_closest(&door, target, report);
                wanted += of;
                missing += lost;
                if lost > 0 {
                    last = format!("{target} by node {}", door.node);
                }
            }
            self.pause().await;
        }
        if missing * RECALL.1 > wanted * RECALL.0 {
            let message = format!(
                "of {wanted} nodes that are among the {K} closest {missing} were not found, the last one in a lookup of {last}"
            );
            self.fail("recall", message, None);
        }
    }

    /// The closest one is always found. Of how many that should be found how many were not.
    fn check_closest(&self, door: &Door, target: Id, report: &Report) -> (usize, usize) {
        let truth = self.stage.truth(report.family, target, door.node);
        let truth: Vec<Id> = truth.iter().take(K).map(|door| door.id).collect();
        // Who was asked and has not answered in time is only slow.
        let is_known = |id: &Id| {
            let mut closest = report.closest.iter();
            closest.any(|node| node.id == *id) || report.hops.iter().any(|hop| hop.node.id == *id)
        };
        let missing = truth.iter().filter(|id| !is_known(id)).count();
        if truth.first().is_some_and(|first| !is_known(first)) {
            let message = format!(
                "the closest node of {:?} to {target} was not found, of {} that were asked",
                report.family,
                report.hops.len()
            );
            self.fail("finds-closest", message, Some(door.node));
        }
        (truth.len(), missing)
    }

    async fn items(&mut self, is_last: bool) {
        let mut all: Vec<(Id, Item)> = {
            let ledger = self.stage.ledger();
            let items = ledger.items.iter();
            items
                .map(|(target, item)| (*target, item.clone()))
                .collect()
        };
        self.person.draws.shuffle(&mut all);
        all.truncate(ITEMS);
        for (target, item) in all {
            let stored = self.census.take(target).await;
            self.check_stored(target, &item, &stored);
            let is_over = item.is_over(&self.stage, item_lifetime());
            let is_there = stored.values().any(|stored| stored.item.is_some());
            if is_over && is_there {
                let message = format!("{target} is given out though it was put long ago");
                self.fail("item-expired", message, None);
            }
            let Some(door) = self.some(1).pop() else {
                return;
            };
            let salt = item.owner.as_ref().map(|owner| owner.salt.clone());
            let is_salted = salt.as_ref().is_some_and(|salt| !salt.is_empty());
            let got = self
                .person
                .get(&door, target, salt.unwrap_or_default())
                .await;
            let Some(got) = got else { continue };
            let mark = |name: &str| self.stage.world.mark(name);
            self.check_found(&door, target, &item, &stored, &got, is_last);
            if got.item.is_some() && is_salted {
                mark("salted-item-found");
            }
            if is_over && got.item.is_none() {
                mark("item-expired");
            }
            self.pause().await;
        }
    }

    /// Whoever said that he stores it, and still runs, does.
    fn check_stored(&self, target: Id, item: &Item, stored: &BTreeMap<SocketAddr, Stored>) {
        let now = self.stage.world.now();
        for placed in &item.placed {
            if now + NEARLY > placed.at + item_lifetime() {
                continue;
            }
            let (mut have, mut uncertain) = (0, placed.uncertain);
            for (address, (_, start)) in &placed.asked {
                match stored.get(address) {
                    Some(found) if found.start == *start => {
                        let number = found.item.as_ref().map(|(number, _)| *number);
                        have += u32::from(number.is_some_and(|number| number >= placed.sequence));
                    }
                    _ => uncertain += 1,
                }
            }
            if have + uncertain < placed.stored {
                let message = format!(
                    "{} nodes said that they store number {:?} of {target}; {uncertain} have died, {have} have it",
                    placed.stored, placed.sequence
                );
                self.fail("stored-and-lost", message, None);
            }
        }
    }

    fn check_found(
        &self,
        door: &Door,
        target: Id,
        item: &Item,
        stored: &BTreeMap<SocketAddr, Stored>,
        got: &Outcome,
        is_last: bool,
    ) {
        let mark = |name: &str| self.stage.world.mark(name);
        // What those have that were asked and have answered.
        let mut there: Option<Option<i64>> = None;
        for hop in got.reports.iter().flat_map(|report| &report.hops) {
            let stored = stored
                .get(&hop.node.address)
                .filter(|_| hop.answered_after.is_some());
            let item = stored.and_then(|stored| stored.item.as_ref());
            there = there.max(item.map(|(number, _)| *number));
        }
        let version = |item: &holdfast_peers::FoundItem| item.version.map(|(number, _)| number);
        let found = got.item.as_ref().map(version);
        if found < there {
            let message = format!(
                "{found:?} of {target} was found, and those that were asked have {there:?}"
            );
            self.fail("item-found", message, Some(door.node));
        }
        let newest = item.offers.iter().map(|offer| offer.sequence).max();
        // The two families know nothing of each other.
        let families = |node: u32| self.stage.chosen.kinds[node as usize].families;
        let is_near = |keeper: &u32| {
            let mut both = families(door.node).into_iter().zip(families(*keeper));
            both.any(|(own, other)| own && other)
        };
        let kept = item.kept(&self.stage);
        let kept = kept
            .filter(|(_, (keeper, _))| is_near(keeper))
            .map(|(offer, _)| offer.sequence);
        // It is stored again once an hour: those that had it may have died in between.
        let is_renewed = is_last && self.stage.chosen.last_look > Some(ITEM_INTERVAL + RENEWED);
        if is_renewed && kept.is_some() && kept == newest && found != newest {
            let message = format!("number {kept:?} of {target} is kept, and {found:?} was found");
            self.fail("item-kept", message, Some(door.node));
        }
        if found.is_none() {
            return;
        }
        if kept.is_some() && is_renewed {
            mark("kept-item-found");
        }
        if found.is_some_and(|number| number.is_some()) && found == newest {
            mark("newest-item-found");
        }
        let asked = item.placed.iter().flat_map(|placed| &placed.asked);
        let mut died = asked.filter(|(_, (node, start))| self.stage.start_of(*node) != *start);
        if died.next().is_some() {
            mark("item-found-after-cut");
        }
    }

    async fn peers(&mut self, is_last: bool) {
        let torrents = self.stage.ledger().torrents(&self.stage, peer_lifetime());
        for (info_hash, is_over) in torrents {
            let Some(door) = self.some(1).pop() else {
                return;
            };
            let Some(outcome) = self.person.get_peers(&door, info_hash).await else {
                continue;
            };
            let kept = self.stage.ledger().kept_peers(&self.stage);
            let families = self.stage.chosen.kinds[door.node as usize].families;
            for (torrent, address, (node, _)) in kept {
                let is_in = families[usize::from(address.is_ipv6())];
                if torrent != info_hash || !is_in || node == door.node {
                    continue;
                }
                // An address is one peer of a torrent; it may have said another port since.
                if !outcome.peers.iter().any(|peer| peer.ip() == address.ip()) {
                    let message = format!(
                        "{address} keeps itself announced for {info_hash} and is not found"
                    );
                    self.fail("peer-kept", message, Some(door.node));
                } else if is_last {
                    self.stage.world.mark("kept-peer-found");
                }
            }
            if !outcome.peers.is_empty() {
                self.stage.world.mark("announced-peer-found");
            }
            if is_over && outcome.peers.is_empty() {
                self.stage.world.mark("peer-expired");
            }
            self.pause().await;
        }
    }

    /// Nodes compare sequence numbers exactly (BEP 44, "CAS").
    async fn compare(&mut self) {
        const CAS_MISMATCH: i64 = 301;
        const TOO_LOW: i64 = 302;
        let Some(door) = self.some(1).pop() else {
            return;
        };
        let steps = [
            (3, None, None),
            (5, Some(3), None),
            (9, Some(3), Some(CAS_MISMATCH)),
            (9, Some(9), Some(CAS_MISMATCH)),
            (4, None, Some(TOO_LOW)),
            (9, Some(5), None),
        ];
        let mut closest: Option<Vec<SocketAddr>> = None;
        for (sequence, cas, refusal) in steps {
            let put = self
                .person
                .put_version(&door, 0, b"compared", sequence, cas, false);
            let Some(outcome) = put.await else { return };
            let holders: Vec<SocketAddr> = holders(&outcome);
            if closest.as_ref().is_some_and(|known| *known != holders) {
                // Others were asked, who know nothing of what was before.
                return;
            }
            let asked = holders.len() as u32;
            let expected = match refusal {
                None => (asked, 0),
                Some(_) => (0, asked),
            };
            let refused = refusal.map_or(0, |number| outcome.refused_with(number));
            if (outcome.stored(), refused) != expected {
                let message = format!(
                    "number {sequence} with cas {cas:?}: of {asked} nodes {} stored it and {refused} refused with \
                     {refusal:?}; {:?}",
                    outcome.stored(),
                    outcome
                        .reports
                        .iter()
                        .map(|report| &report.refusals)
                        .collect::<Vec<_>>()
                );
                self.fail("compare-and-swap", message, Some(door.node));
            }
            closest = Some(holders);
            self.pause().await;
        }
    }

    /// Who looks for an item after it was put finds it at that number or at a higher one, whoever he is.
    async fn read_after_put(&mut self) {
        for sequence in 1..=REWRITTEN {
            let [Some(writer), Some(reader)] = [self.some(1).pop(), self.some(1).pop()] else {
                return;
            };
            let salt = b"read after put";
            let put = self
                .person
                .put_version(&writer, 1, salt, sequence, None, false);
            let Some(put) = put.await else { return };
            self.pause().await;
            let got = self.person.get(&reader, put.target, salt.to_vec()).await;
            let Some(got) = got else { return };
            // The two families know nothing of each other. Of two that have it one at least is found.
            let is_in = |family| got.reports.iter().any(|report| report.family == family);
            let stored = put.reports.iter().filter(|report| is_in(report.family));
            let is_held = stored.map(|report| report.stored).max() >= Some(2);
            let found = got.item.and_then(|item| item.version);
            let found = found.map(|(number, _)| number);
            if is_held && found < Some(sequence) {
                let message = format!(
                    "number {sequence} of {} was put by node {} and stored at {}, and then {found:?} is found",
                    put.target,
                    writer.node,
                    put.stored()
                );
                self.fail("read-after-put", message, Some(reader.node));
            }
            self.pause().await;
        }
    }

    /// Nobody waits for anything any more.
    async fn nothing_left(&self) {
        for door in self.stage.doors() {
            let status = door.handle.status();
            let Some(status) = self.stage.at_once(&self.host, &door, status).await else {
                continue;
            };
            // What renews what is kept is nobody's wait, and soon over.
            if status.lookups > status.kept {
                let message = format!("{} lookups are under way, for nobody", status.lookups);
                self.fail("lookup-leak", message, Some(door.node));
            }
        }
    }

    /// Stops every other node, all at once: they are back as who they were, and find their way.
    async fn stop_some(&mut self, stops: &[Notify]) {
        let before: BTreeMap<u32, Id> = self
            .stage
            .doors()
            .iter()
            .map(|door| (door.node, door.id))
            .collect();
        for stop in stops.iter().step_by(2) {
            stop.notify_waiters();
        }
        self.host.sleep(BACK).await;
        let after: BTreeSet<(u32, Id)> = self
            .stage
            .doors()
            .iter()
            .map(|door| (door.node, door.id))
            .collect();
        let lost = before.into_iter().find(|known| !after.contains(known));
        if let Some((node, id)) = lost {
            let message = format!("it was stopped, and is not back as {id}");
            self.fail("recovery", message, Some(node));
        }
        self.find_closest().await;
    }

    fn tell_marks(&self) {
        let world = &self.stage.world;
        let (plan, counts, chosen) = (world.plan(), world.counts(), &self.stage.chosen);
        let is_cut = |kind: &FaultKind| matches!(kind, FaultKind::Partition { .. });
        for (happened, mark) in [
            (
                plan.faults.iter().any(|fault| is_cut(&fault.kind)),
                "partition-healed",
            ),
            (counts.faults.contains_key("clock_step"), "clock-jumped"),
            (counts.links.lost > 0, "datagram-lost"),
            (counts.links.duplicated > 0, "datagram-duplicated"),
            (
                chosen.kinds.iter().any(|kind| kind.is_read_only),
                "read-only-node",
            ),
            (chosen.kinds.iter().any(|kind| kind.families[1]), "v6-node"),
            (chosen.paths > 1, "several-paths"),
        ] {
            if happened {
                world.mark(mark);
            }
        }
    }
}
