//! One run: the overlay is made, something befalls it, and lookups are made before, meanwhile and after.

use super::{
    MARKS, World,
    choose::{Chosen, Stores, Trial},
    inspect::Inspector,
    judge::{self, Asked, ENDS_WITHIN, Expected, IDLE_RATE, Tally},
    liars::{Liars, Lie},
    portrait::Painter,
    probe::PROBES,
    store::{Mix, Storage},
};
use crate::BLACK_BOX;
use holdfast_kademlia::{Event, Id, LookupId, Request};
use holdfast_sim::{
    check::Violation,
    draw::{Domain, Draws},
    marks::Marks,
    overlay::{Addresses, BEGIN, Overlay, Setup},
    sometimes,
};
use std::{collections::BTreeMap, net::SocketAddrV4, sync::Arc};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const MINUTE: u64 = 60 * SECOND;

/// Nodes that look things up, in turn.
const ASKERS: usize = 10;
/// Lookups after which a node knows enough round trips.
const WARM_AFTER: u32 = 2;
/// Between two lookups of a round.
const PACE: u64 = 500 * MS;
/// Between two looks at the tables, of which each is looked at every [`TURNS`] times.
const LOOK_EVERY: u64 = 20 * SECOND;
const TURNS: u32 = 4;
/// Whom a node that joins asks.
const SEEDS: usize = 3;
/// The longest pause after which a node that knows nobody who lives tries again, and the time that takes.
const REJOINS_WITHIN: u64 = 6 * MINUTE;
/// Lookups of a node that is cut off, a minute: enough to find out that nobody answers.
const ALONE_PACE: u32 = 4;
/// So many of those things are missed that the closest nodes have, at most, where nothing else is in the way.
const MISSED_AT_LEAST: f64 = 0.001;
/// How many nodes are cut off at most.
const MOST_ALONE: u64 = 6;

/// All contacts of some tables.
type Tables = Vec<(u32, Vec<(Id, SocketAddrV4)>)>;

/// A run.
pub struct Run {
    pub world: World,
    chosen: Chosen,
    draws: Draws,
    is_black_box: bool,
    askers: Vec<u32>,
    looked: BTreeMap<u32, u32>,
    asked: BTreeMap<(u32, LookupId), Asked>,
    tally: Tally,
    storage: Storage,
    ended: u64,
    pub marks: Marks,
    longest: u32,
    /// What the run's page will show, if there is to be one.
    pub painter: Option<Painter>,
    looks: u32,
    next_look: u64,
    /// The tables as they were looked at last, while everybody who lives must keep his place.
    kept: Option<Tables>,
    violation: Option<(u64, Violation)>,
}

impl Run {
    pub fn new(seed: u64, chosen: Chosen, is_black_box: bool) -> Self {
        let addresses = Addresses::new(chosen.network_bits);
        let setup = Setup {
            seed,
            config: Arc::new(chosen.config.clone()),
            links: chosen.links,
            ids: chosen.ids,
            network_bits: chosen.network_bits,
        };
        let lies = chosen.trial.liars().map_or(&[Lie::Silent][..], |(_, l)| l);
        let liars = Liars::new(seed, addresses, lies.to_vec());
        let mut inspector = Inspector::new(addresses, is_black_box, &chosen.config);
        inspector.checks_entry =
            chosen.trial.liars().is_none() && !matches!(chosen.trial, Trial::Comeback(_));
        let (_, longest) = judge::usual_hops(chosen.nodes, 0, chosen.config.k);
        let storage = Storage::new(seed, chosen.config.items.lifetime);
        Run {
            world: Overlay::new(setup, liars, inspector),
            chosen,
            draws: Draws::new(seed, Domain::Scenario, 1),
            is_black_box,
            askers: Vec::new(),
            looked: BTreeMap::new(),
            asked: BTreeMap::new(),
            tally: Tally::default(),
            storage,
            ended: 0,
            marks: Marks::new(MARKS),
            longest,
            painter: None,
            looks: 0,
            next_look: BEGIN + LOOK_EVERY,
            kept: None,
            violation: None,
        }
    }

    /// The first property that broke, and when.
    pub fn violation(&self) -> Option<&(u64, Violation)> {
        self.violation.as_ref()
    }

    /// Lookups that ended, in all.
    pub fn ended(&self) -> u64 {
        self.ended + self.storage.ended
    }

    pub fn fail(&mut self, violation: Violation) {
        let is_heeded = !self.is_black_box || BLACK_BOX.contains(&violation.property);
        if is_heeded && self.violation.is_none() {
            let at = violation.at_ns.unwrap_or(self.world.now());
            self.violation = Some((at, violation));
        }
    }

    fn heed(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.fail(violation);
        }
    }

    /// Runs all of it.
    pub fn run(&mut self) {
        self.build();
        if self.violation.is_some() {
            return;
        }
        self.go_through();
        self.advance(ENDS_WITHIN + SECOND);
        if self.violation.is_none() {
            let checked = judge::check_tables(&self.world, |_| true, !self.is_black_box);
            self.heed(checked);
        }
        self.note();
    }

    fn build(&mut self) {
        let Chosen {
            nodes, is_grown, ..
        } = self.chosen;
        let percent = self.chosen.trial.liars().map_or(0, |(percent, _)| percent);
        let liars = nodes * percent / 100;
        let honest = nodes - liars;
        if is_grown {
            self.world.add();
            for _ in 1..honest {
                let node = self.world.add();
                self.world.join(node, SEEDS);
                self.world.run_until(self.world.now() + 200 * MS);
            }
            sometimes!(self.marks, MARKS, "grown-by-joining");
        } else {
            self.world.add_many(honest);
        }
        self.world.adversary_mut().learn(nodes + PROBES);
        for _ in 0..liars {
            let id = self.world.any_id();
            let node = self.world.add_adversary(id);
            self.world.adversary_mut().enlist(node, id);
            let at = self.world.now() + self.draws.range(1, 5 * SECOND);
            self.world.prompt(at, node);
        }
        match is_grown {
            true => self.advance(MINUTE),
            false => self.world.fill_tables(),
        }
        // After tables are filled: nobody knows them.
        for _ in 0..PROBES {
            let id = self.world.any_id();
            let node = self.world.add_adversary(id);
            let now = self.world.now();
            let probes = &mut self.world.adversary_mut().probes;
            probes.enlist(now, node, id, honest);
            self.world.prompt(now + self.draws.range(1, SECOND), node);
        }
    }

    /// Some of those that live: so many percent.
    fn some(&mut self, percent: u32) -> Vec<u32> {
        let mut all: Vec<u32> = self.world.census().entries().iter().map(|e| e.1).collect();
        all.sort_unstable();
        self.draws.shuffle(&mut all);
        all.truncate(all.len() * percent as usize / 100);
        all
    }

    fn go_through(&mut self) {
        let chosen = self.chosen.clone();
        let plain = |dead| judge::expected(&chosen, dead);
        // Where nothing is lost, who lives always answers, and nobody has a reason to drop him.
        let answers = chosen.links.loss == 0.0 && !chosen.config.wide_buckets;
        let all = chosen.lookups;
        match &chosen.trial {
            Trial::Dead(percent) => {
                let dead = self.some(*percent);
                self.world.kill_many(&dead);
                self.keep(answers);
                self.look(ASKERS as u32 * 2, None);
                self.look(all, Some(plain(*percent)));
                if *percent == 50 {
                    sometimes!(self.marks, MARKS, "looked-up-among-half-dead");
                }
            }
            Trial::Churn(minutes) => {
                self.world.begin_churn(minutes * MINUTE);
                self.keep(answers);
                let depths = judge::Depths::of(&self.world);
                for _ in 0..3 {
                    self.advance(6 * MINUTE);
                    self.look(all / 2, Some(judge::while_changing(&chosen, 20)));
                }
                if chosen.links.loss == 0.0 && self.violation.is_none() {
                    let refreshed = judge::check_refreshed(&depths, &self.world);
                    self.heed(refreshed);
                }
                self.world.end_churn();
            }
            Trial::MassDeath(percent) => {
                self.keep(answers);
                self.look(all / 2, Some(plain(0)));
                let dead = self.some(*percent);
                self.world.kill_many(&dead);
                self.look(all / 2, Some(judge::while_changing(&chosen, *percent)));
                self.advance(17 * MINUTE);
                self.look(all, Some(judge::while_changing(&chosen, *percent / 2)));
            }
            Trial::Halves(minutes) => {
                self.look(all / 3, Some(plain(0)));
                let key = self.draws.bits();
                let seed = self.world.seed();
                let half = |node| Draws::new(seed, Domain::Target, key).nth(u64::from(node));
                self.world.cut(|node| (half(node) & 1) as u8);
                self.look_on(all, *minutes * MINUTE);
                self.world.heal();
                sometimes!(self.marks, MARKS, "halves-healed");
                self.advance(32 * MINUTE);
                self.look(all, Some(judge::while_changing(&chosen, 20)));
            }
            Trial::Alone(minutes) => self.leave_alone(*minutes),
            Trial::Mute(percent) => {
                let mute = self.some(*percent);
                mute.iter()
                    .for_each(|node| self.world.set_mute(*node, true));
                self.look(all, Some(judge::while_changing(&chosen, *percent)));
                mute.iter()
                    .for_each(|node| self.world.set_mute(*node, false));
                sometimes!(self.marks, MARKS, "mute-nodes-heard-again");
                self.advance(17 * MINUTE);
                self.look(all / 2, Some(judge::while_changing(&chosen, *percent)));
            }
            Trial::Comeback(percent) => {
                let gone = self.some(*percent);
                self.world.kill_many(&gone);
                self.advance(30 * SECOND);
                for node in &gone {
                    self.world.come_back(*node);
                    self.world.join(*node, SEEDS);
                    self.advance(200 * MS);
                }
                sometimes!(self.marks, MARKS, "back-under-another-id");
                self.advance(4 * MINUTE);
                self.look(all, Some(judge::while_changing(&chosen, *percent)));
            }
            Trial::Liars(percent, lies) => {
                self.keep(answers);
                self.look(ASKERS as u32 * 2, None);
                self.look(all, Some(judge::among_liars(&chosen, *percent, lies)));
                self.advance(3 * MINUTE);
                self.look(all / 2, Some(judge::among_liars(&chosen, *percent, lies)));
            }
            Trial::Stores(befalls) => self.store(befalls),
            Trial::Idle => {
                self.keep(answers);
                let (began, before) = (self.world.now(), self.world.counts().sent);
                self.advance(20 * MINUTE);
                let depths = judge::Depths::of(&self.world);
                self.advance(20 * MINUTE);
                let seconds = (self.world.now() - began) as f64 / SECOND as f64;
                let sent = (self.world.counts().sent - before) as f64;
                let rate = sent / seconds / f64::from(chosen.nodes);
                if rate > IDLE_RATE {
                    let message = format!("{rate:.2} datagrams a node and second, asked nothing");
                    self.fail(Violation::new("idle-traffic", message));
                }
                if chosen.links.loss == 0.0 && self.violation.is_none() {
                    let refreshed = judge::check_refreshed(&depths, &self.world);
                    self.heed(refreshed);
                }
                self.look(all, Some(plain(0)));
            }
        }
    }

    /// A few nodes can reach nobody, for long enough that nobody in their tables is believed to live.
    fn leave_alone(&mut self, minutes: u64) {
        let count = self.draws.range(1, MOST_ALONE + 1) as usize;
        let mut alone = self.some(50);
        alone.truncate(count);
        let parts = alone.clone();
        self.world.cut(|node| {
            let place = parts.iter().position(|other| *other == node);
            place.map_or(0, |place| place as u8 + 1)
        });
        let askers = std::mem::replace(&mut self.askers, alone.clone());
        self.look_on(minutes as u32 * ALONE_PACE * count as u32, minutes * MINUTE);
        self.askers = askers;
        let deserted = |world: &World, node: u32| {
            world
                .node(node)
                .is_none_or(|core| core.table().is_deserted())
        };
        let were: Vec<u32> = alone
            .into_iter()
            .filter(|node| deserted(&self.world, *node))
            .collect();
        self.world.heal();
        self.advance(REJOINS_WITHIN);
        for node in were {
            sometimes!(self.marks, MARKS, "table-deserted");
            if deserted(&self.world, node) {
                let message = "everybody can be reached again, and nobody is known".to_owned();
                self.fail(Violation::new("rejoin", message).at(node));
            }
        }
        let expected = judge::while_changing(&self.chosen, 20);
        self.look(self.chosen.lookups / 2, Some(expected));
    }

    /// Things are put and looked for, before something befalls who stores them, and afterwards.
    fn store(&mut self, befalls: &Stores) {
        let chosen = self.chosen.clone();
        let plain = |dead| Some(judge::expected(&chosen, dead));
        let changing = |percent| Some(judge::while_changing(&chosen, percent));
        let all = chosen.lookups;
        match befalls {
            Stores::Dead(percent) => {
                let dead = self.some(*percent);
                self.world.kill_many(&dead);
                self.look(ASKERS as u32 * 2, None);
                self.storage.is_calm = *percent == 0 && chosen.links.loss == 0.0;
                self.trade(all, Mix::Write, plain(*percent));
                self.trade(all, Mix::Read, plain(*percent));
                self.advance(3 * MINUTE);
                self.trade(all / 2, Mix::Read, plain(*percent));
            }
            Stores::MassDeath(percent) => {
                self.trade(all, Mix::Write, plain(0));
                let dead = self.some(*percent);
                self.world.kill_many(&dead);
                self.trade(all, Mix::Read, changing(*percent));
            }
            Stores::Churn => {
                self.trade(all, Mix::Write, plain(0));
                self.world.begin_churn(60 * MINUTE);
                for _ in 0..4 {
                    self.advance(14 * MINUTE);
                    self.trade(all / 4, Mix::Read, changing(20));
                }
                for place in 0..self.storage.len() {
                    self.storage.put_again(&mut self.world, place);
                    self.advance(PACE);
                }
                self.advance(8 * MINUTE);
                self.trade(all / 2, Mix::Read, changing(20));
                self.world.end_churn();
            }
            Stores::Halves(minutes) => {
                self.trade(all / 2, Mix::Write, plain(0));
                let key = self.draws.bits();
                let seed = self.world.seed();
                let half = |node| Draws::new(seed, Domain::Target, key).nth(u64::from(node));
                self.world.cut(|node| (half(node) & 1) as u8);
                self.storage.histories.is_cut = true;
                self.trade(all / 2, Mix::Write, None);
                self.advance(minutes * MINUTE);
                self.world.heal();
                self.storage.histories.is_cut = false;
                self.advance(16 * MINUTE);
                self.trade(all, Mix::Read, changing(50));
            }
            Stores::Liars(percent, lies) => {
                self.storage.histories.has_liars = true;
                let expected = || Some(judge::among_liars(&chosen, *percent, lies));
                self.look(ASKERS as u32 * 2, None);
                self.trade(all, Mix::Write, expected());
                self.trade(all, Mix::Read, expected());
            }
        }
    }

    /// Puts and looks for so many things, and holds what was found against what is expected of lookups.
    fn trade(&mut self, count: u32, mix: Mix, expected: Option<Expected>) {
        self.storage.expect(expected, MISSED_AT_LEAST);
        for _ in 0..count {
            if self.violation.is_some() {
                return;
            }
            self.storage.act(&mut self.world, &mut self.draws, mix);
            self.advance(PACE);
        }
        self.advance(ENDS_WITHIN / 2);
        let checked = self.storage.check(&self.world);
        self.heed(checked);
    }

    /// From now on who lives keeps his place, if `answers`.
    fn keep(&mut self, answers: bool) {
        self.kept = answers.then(|| judge::contacts(&self.world));
    }

    /// Makes so many lookups, over `time`, of which is asked only that they end.
    fn look_on(&mut self, count: u32, time: u64) {
        for _ in 0..count {
            self.begin();
            self.advance(time / u64::from(count.max(1)));
        }
        self.advance(ENDS_WITHIN);
        self.tally = Tally::default();
    }

    /// Makes so many lookups, and holds them against what is expected.
    fn look(&mut self, count: u32, expected: Option<Expected>) -> Tally {
        for _ in 0..count {
            self.begin();
            self.advance(PACE);
        }
        self.advance(ENDS_WITHIN / 2);
        let tally = std::mem::take(&mut self.tally);
        if let Some(expected) = expected {
            let checked = tally.check(&expected);
            self.heed(checked);
        }
        tally
    }

    /// What comes of so many lookups, once nodes know round trips.
    pub fn measure(&mut self, lookups: u32) -> Tally {
        self.build();
        self.look(ASKERS as u32 * 2, None);
        self.look(lookups, None)
    }

    fn begin(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let mut node = None;
        if self.askers.len() == ASKERS || !self.askers.is_empty() && self.draws.chance(0.8) {
            let place = self.draws.range(0, self.askers.len() as u64) as usize;
            let asker = self.askers[place];
            match self.world.node(asker) {
                Some(_) => node = Some(asker),
                None => drop(self.askers.swap_remove(place)),
            }
        }
        let Some(node) = node.or_else(|| self.world.any()) else {
            return;
        };
        if self.askers.len() < ASKERS && !self.askers.contains(&node) {
            self.askers.push(node);
        }
        let target = match self.draws.chance(0.2) {
            true => self.world.any().map_or(Id::MAX, |node| self.world.id(node)),
            false => self.world.any_id(),
        };
        let count = 2 * self.chosen.config.k;
        let truth = self.world.census().closest(target, count, Some(node));
        let request = Request::FindNode { target };
        let Some(Ok(lookup)) = self.world.look_up(node, request) else {
            return;
        };
        let looked = self.looked.entry(node).or_default();
        *looked += 1;
        let asked = Asked {
            at: self.world.now(),
            truth,
            known_since: if self.chosen.is_grown { 0 } else { BEGIN },
            is_warm: *looked > WARM_AFTER,
        };
        self.asked.insert((node, lookup), asked);
        self.hear();
    }

    /// Lets time pass, unless something has broken.
    fn advance(&mut self, time: u64) {
        let until = self.world.now() + time;
        while self.world.now() < until && self.violation.is_none() {
            let next = until.min(self.world.now() + SECOND);
            self.world.run_until(next);
            self.hear();
            if self.world.now() >= self.next_look {
                self.next_look += LOOK_EVERY;
                self.look_at_tables();
            }
        }
    }

    fn hear(&mut self) {
        if let Some((at, violation)) = self.world.watch().violation() {
            let violation = violation.clone().when(*at);
            self.fail(violation);
        }
        for told in self.world.take_told() {
            let heard = self.storage.hear(&told, &self.world);
            self.heed(heard);
            let Event::Finished(end) = told.event else {
                continue;
            };
            let Some(asked) = self.asked.remove(&(told.node, end.lookup)) else {
                continue;
            };
            self.ended += 1;
            let checked = judge::check_end(told.node, &end, &self.world);
            self.heed(checked.map_err(|violation| violation.when(told.at)));
            let missed = self.tally.missed;
            self.tally.add(&asked, &end, &self.world, self.longest);
            if let Some(painter) = &mut self.painter {
                painter.ended(told.node, &end, self.tally.missed == missed);
            }
        }
        let (now, world) = (self.world.now(), &self.world);
        // Who died did not end what it had begun.
        self.asked.retain(|(node, _), asked| {
            world.node(*node).is_some() && world.watch().began_at(*node) <= asked.at
        });
        let late = |asked: &Asked| now - asked.at > ENDS_WITHIN;
        let late = self.asked.iter().find(|(_, asked)| late(asked));
        if let Some(((node, _), asked)) = late {
            let seconds = (now - asked.at) / SECOND;
            let message = format!("a lookup has not ended after {seconds} s");
            self.fail(Violation::new("lookup-ends", message).at(*node));
        }
    }

    fn look_at_tables(&mut self) {
        self.looks += 1;
        if let Some(painter) = &mut self.painter {
            painter.look(&self.world);
        }
        let turn = self.looks % TURNS;
        let checked =
            judge::check_tables(&self.world, |node| node % TURNS == turn, !self.is_black_box);
        self.heed(checked);
        if !self.is_black_box {
            let checked = judge::check_stores(&self.world, |node| node % TURNS == turn);
            self.heed(checked);
        }
        if turn == 0
            && let Some(kept) = &self.kept
        {
            let checked = judge::check_kept(kept, &self.world);
            self.heed(checked);
            self.kept = Some(judge::contacts(&self.world));
        }
    }

    /// What was reached.
    fn note(&mut self) {
        let counts = self.world.counts();
        let watch = self.world.watch();
        let marks = &mut self.marks;
        let mut hit = |is_reached: bool, name: &str| {
            if is_reached {
                marks.hit(name);
            }
        };
        let config = &self.chosen.config;
        hit(config.paths > 1 && self.ended > 0, "several-paths");
        hit(config.secure_ids, "secure-ids");
        hit(config.wide_buckets, "wide-buckets");
        hit(self.chosen.network_bits > 0, "networks-shared");
        hit(counts.lost > 0, "datagram-lost");
        hit(watch.answers_to_strangers > 0, "stranger-answered");
        hit(watch.unasked > 0, "answer-that-nobody-asked-for");
        hit(watch.garbage > 0, "garbage-received");
        hit(
            self.chosen.trial.name() == "churn" && counts.died > 0,
            "node-replaced",
        );
        let mut spares = self
            .world
            .nodes()
            .map(|(_, n)| n.health(self.world.now()).spares);
        hit(spares.any(|spares| spares > 0), "spare-kept");
        let seen = self.world.watch().stores.seen;
        hit(seen.put > 0, "item-put");
        hit(seen.replaced > 0, "item-replaced");
        hit(seen.cas_refused > 0, "cas-refused");
        hit(seen.old_refused > 0, "old-sequence-refused");
        hit(seen.unsigned_refused > 0, "wrong-signature-refused");
        hit(seen.old_tokens > 0, "token-of-the-period-before");
        hit(seen.bad_tokens > 0, "token-refused");
        hit(seen.announced > 0, "peer-announced");
        hit(seen.items > 0, "item-told");
        hit(seen.peers > 0, "peers-told");
        hit(seen.samples > 0, "sample-told");
        hit(seen.scrapes > 0, "scrape-told");
        let (items, peers) = self.storage.found;
        hit(items > 0, "item-found");
        hit(peers > 0, "peers-found");
        hit(self.storage.read > 0, "read-after-put");
        for lie in self.world.adversary().told.keys() {
            hit(true, &format!("lie-{}", lie.name()));
        }
    }
}
