//! People who ask nodes, and who operates the machines.

use super::{
    census::address_of,
    choose::{LATE_NAME, PORTS},
    ledger::{Owner, Placed, Process},
    stage::{Door, Stage},
};
use holdfast_host::Host;
use holdfast_kademlia::{Id, Request, item::SecretKey, items::ItemLimits, peers::PeerLimits};
use holdfast_peers::{DhtError, Hop, KeptKind, NewItem, Outcome, Report};
use holdfast_sim::{
    disk::Space,
    draw::{Domain, Draws},
    full::World,
};
use std::{net::SocketAddr, num::NonZeroU16, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How long after the last fault people go on.
const AFTERWARDS: Duration = Duration::from_secs(60);
/// Torrents that there are.
const TORRENTS: u64 = 6;
/// Keys that each person has, and salts that it uses with each.
const KEYS: u64 = 2;
const SALTS: [&[u8]; 3] = [b"", b"a", b"salt"];
/// How long after the last operation of a disk its machine is off.
const AFTER_A_CUT: Duration = Duration::from_secs(10);
/// Disk operations of one save, about.
const SAVE_OPERATIONS: u64 = 9;
/// Entities of [`Domain::Workload`].
const PERSON: u64 = 1 << 51;
const OPERATOR: u64 = 1 << 52;

/// How long nodes keep an item.
pub(super) fn item_lifetime() -> Duration {
    Duration::from_nanos(ItemLimits::default().lifetime)
}

/// How long nodes keep a peer.
pub(super) fn peer_lifetime() -> Duration {
    Duration::from_nanos(PeerLimits::default().lifetime)
}

fn some_id(draws: &mut Draws) -> Id {
    let mut bytes = [0; Id::LEN];
    for chunk in bytes.chunks_mut(8) {
        let bits = draws.bits().to_be_bytes();
        chunk.copy_from_slice(&bits[..chunk.len()]);
    }
    Id::new(bytes)
}

/// The id of one of the torrents.
pub(super) fn torrent(number: u64) -> Id {
    let mut draws = Draws::new(number, Domain::Workload, PERSON);
    some_id(&mut draws)
}

/// The nodes that were asked to store something: the closest that had answered when the closest were found. Answers that
/// came later may have named closer ones.
pub(super) fn holders(outcome: &Outcome) -> Vec<SocketAddr> {
    let target = outcome.target;
    let of_report = |report: &Report| {
        let in_time = |hop: &&Hop| {
            hop.answered_after
                .is_some_and(|after| after <= report.found_after)
        };
        let mut hops: Vec<&Hop> = report.hops.iter().filter(in_time).collect();
        hops.sort_by_key(|hop| target.distance(hop.node.id));
        hops.truncate(8);
        hops.iter().map(|hop| hop.node.address).collect::<Vec<_>>()
    };
    outcome.reports.iter().flat_map(of_report).collect()
}

/// A person.
pub(super) struct Person {
    stage: Stage,
    host: Host,
    pub draws: Draws,
    number: u32,
    /// The number of the last version of each of its mutable items.
    sequences: [[i64; SALTS.len()]; KEYS as usize],
    values: u64,
    pub asked: u64,
}

/// Asks, until some time after the last fault; how often.
pub(super) async fn ask(stage: Stage, host: Host, number: u32) -> u64 {
    let mut person = Person::new(&stage, &host, number);
    let pause = stage.chosen.pause.as_nanos() as u64;
    while stage.world.now() < stage.world.horizon() + AFTERWARDS {
        let pause = Duration::from_nanos(person.draws.exponential(pause));
        host.sleep(pause).await;
        if let Some(door) = stage.any_door(&mut person.draws) {
            person.ask(&door).await;
        }
    }
    person.asked
}

impl Person {
    pub(super) fn new(stage: &Stage, host: &Host, number: u32) -> Person {
        let entity = PERSON + u64::from(number);
        Person {
            stage: stage.clone(),
            host: host.clone(),
            draws: Draws::new(stage.world.plan().seed, Domain::Workload, entity),
            number,
            sequences: Default::default(),
            values: 0,
            asked: 0,
        }
    }

    async fn ask(&mut self, door: &Door) {
        match self.draws.range(0, 20) {
            0..4 => self.look_up(door).await,
            4..6 => self.put_immutable(door).await,
            6..9 => self.put_mutable(door).await,
            9..13 => self.get_some(door).await,
            13..15 => self.announce(door).await,
            15..17 => {
                let torrent = torrent(self.draws.range(0, TORRENTS + 1));
                self.get_peers(door, torrent).await;
            }
            17 => {
                let target = some_id(&mut self.draws);
                self.run(door, Request::Sample { target }).await;
            }
            18 => self.give_up(door).await,
            _ => self.look_at(door).await,
        }
    }

    /// Carries something out and checks what holds of all.
    pub(super) async fn run(&mut self, door: &Door, request: Request) -> Option<Outcome> {
        self.carry_out(door, request, false).await
    }

    async fn carry_out(&mut self, door: &Door, request: Request, keep: bool) -> Option<Outcome> {
        self.asked += 1;
        let stage = self.stage.clone();
        let began = stage.world.now();
        let command = async {
            match keep {
                true => door.handle.keep(0, request).await,
                false => door.handle.run(0, request).await,
            }
        };
        let outcome = stage.bounded(&self.host, door, command).await?.ok()?;
        stage.check_outcome(door, &outcome);
        if stage.was_partitioned(began, stage.world.now()) {
            stage.world.mark("lookup-during-partition");
        }
        Some(outcome)
    }

    async fn look_up(&mut self, door: &Door) {
        let target = match self.draws.chance(0.3) {
            true => match self.stage.any_door(&mut self.draws) {
                Some(other) => other.id,
                None => return,
            },
            false => some_id(&mut self.draws),
        };
        self.run(door, Request::FindNode { target }).await;
    }

    /// Begins something and does not wait for it.
    async fn give_up(&mut self, door: &Door) {
        let target = some_id(&mut self.draws);
        let Ok(mut lookup) = door.handle.begin(
            0,
            Request::GetPeers {
                info_hash: target,
                no_seeds: false,
            },
        ) else {
            return;
        };
        let patience = Duration::from_millis(self.draws.range(0, 500));
        let _ = self.host.timeout(patience, lookup.next()).await;
        drop(lookup);
        self.stage.world.mark("lookup-given-up");
    }

    /// What a node says of itself, and what it must refuse.
    async fn look_at(&mut self, door: &Door) {
        let (stage, host) = (self.stage.clone(), self.host.clone());
        if stage.was_paused_now() {
            return;
        }
        let handle = &door.handle;
        if let Some(kept) = stage.at_once(&host, door, handle.kept()).await
            && let Some(first) = kept.first()
            && self.draws.chance(0.2)
        {
            let forget = handle.forget(0, first.kind, first.target);
            stage.at_once(&host, door, forget).await;
            if first.kind == KeptKind::Item {
                stage
                    .ledger()
                    .forgotten(first.target, (door.node, door.start));
            } else {
                stage
                    .ledger()
                    .forgotten_peer(first.target, (door.node, door.start));
            }
        }
        let wrong = host
            .timeout(Duration::from_secs(2), handle.lookup(1, door.id))
            .await;
        let is_right = matches!(wrong, Ok(Err(DhtError::NoSuchNode(1) | DhtError::Stopped)));
        if !is_right && stage.is_open(door) && !stage.was_paused_now() {
            let message = format!("a lookup by a node that there is not: {wrong:?}");
            stage.world.fail("refusal", message, Some(door.node));
        }
    }

    fn keeper(keeps: bool, door: &Door) -> Option<Process> {
        keeps.then_some((door.node, door.start))
    }

    async fn put_immutable(&mut self, door: &Door) {
        self.values += 1;
        let length = self.draws.range(0, 900) as usize;
        let mut text = format!("{}:{}:", self.number, self.values).into_bytes();
        text.resize(text.len() + length, b'.');
        let value = NewItem::text(&text);
        let Ok(item) = NewItem::immutable(value.clone()) else {
            return;
        };
        let keeps = self.draws.chance(0.3);
        self.put(door, item, None, &value, None, keeps).await;
    }

    fn key(&self, key: u64) -> [u8; 32] {
        let mut seed = [7; 32];
        seed[0] = self.number as u8;
        seed[1] = key as u8;
        seed
    }

    async fn put_mutable(&mut self, door: &Door) {
        let key = self.draws.range(0, KEYS);
        let salt = self.draws.range(0, SALTS.len() as u64) as usize;
        let last = &mut self.sequences[key as usize][salt];
        let before = *last;
        *last += 1 + (self.draws.range(0, 3) as i64);
        let sequence = *last;
        // What there is, what there was, or whatever there is.
        let cas = match self.draws.range(0, 4) {
            0 => Some(before),
            1 => Some(before - 1).filter(|cas| *cas >= 0),
            _ => None,
        };
        let keeps = self.draws.chance(0.3);
        self.put_version(door, key, SALTS[salt], sequence, cas, keeps)
            .await;
    }

    /// Puts a version of a mutable item.
    pub(super) async fn put_version(
        &mut self,
        door: &Door,
        key: u64,
        salt: &[u8],
        sequence: i64,
        cas: Option<i64>,
        keeps: bool,
    ) -> Option<Outcome> {
        let seed = self.key(key);
        let value = NewItem::text(format!("{}:{key}:{sequence}", self.number).as_bytes());
        let item = NewItem::signed(&seed, salt, sequence, value.clone(), cas).ok()?;
        let owner = Owner {
            key: *SecretKey::from_seed(&seed).public(),
            salt: salt.to_vec(),
        };
        let put = self.put(door, item, Some(owner), &value, Some(sequence), keeps);
        let outcome = put.await?;
        if outcome.refused_with(301) > 0 {
            self.stage.world.mark("cas-refused");
        }
        Some(outcome)
    }

    async fn put(
        &mut self,
        door: &Door,
        item: NewItem,
        owner: Option<Owner>,
        value: &[u8],
        sequence: Option<i64>,
        keeps: bool,
    ) -> Option<Outcome> {
        let stage = self.stage.clone();
        let target = item.target();
        stage.ledger().offer(target, owner, value, sequence);
        let starts = |address: SocketAddr| {
            let node = super::census::node_at(address)?;
            Some((node, stage.start_of(node)))
        };
        let before: Vec<Process> = (0..stage.world.plan().nodes)
            .map(|node| (node, stage.start_of(node)))
            .collect();
        let outcome = self.carry_out(door, item.into_request(), keeps).await;
        let now = stage.world.now();
        let keeper = Person::keeper(keeps, door);
        let mut ledger = stage.ledger();
        ledger.offered(target, sequence, now, keeper);
        if let (Some(outcome), Some(item)) = (&outcome, ledger.items.get_mut(&target)) {
            let all = holders(outcome);
            let asked = all
                .iter()
                .filter_map(|address| Some((*address, starts(*address)?)));
            let asked: Vec<_> = asked
                .filter(|(_, process)| before.contains(process))
                .collect();
            item.placed.push(Placed {
                sequence,
                uncertain: (all.len() - asked.len()) as u32,
                asked,
                stored: outcome.stored(),
                at: now,
            });
        }
        outcome
    }

    async fn get_some(&mut self, door: &Door) {
        let all: Vec<(Id, Vec<u8>)> = {
            let ledger = self.stage.ledger();
            let items = ledger.items.iter();
            let salt = |owner: &Option<Owner>| owner.as_ref().map(|owner| owner.salt.clone());
            items
                .map(|(target, item)| (*target, salt(&item.owner).unwrap_or_default()))
                .collect()
        };
        let (target, salt) = match all.is_empty() || self.draws.chance(0.1) {
            true => (some_id(&mut self.draws), Vec::new()),
            false => self.draws.pick(&all).clone(),
        };
        self.get(door, target, salt).await;
    }

    /// Looks for an item, and checks what is found.
    pub(super) async fn get(&mut self, door: &Door, target: Id, salt: Vec<u8>) -> Option<Outcome> {
        let request = Request::Get {
            target,
            salt,
            is_mutable: false,
        };
        let outcome = self.run(door, request).await?;
        if let Some(found) = &outcome.item {
            let stage = &self.stage;
            stage
                .ledger()
                .check_item(stage, door, target, found, item_lifetime());
        }
        Some(outcome)
    }

    async fn announce(&mut self, door: &Door) {
        let stage = self.stage.clone();
        let info_hash = torrent(self.draws.range(0, TORRENTS));
        let port = match self.draws.chance(0.5) {
            true => NonZeroU16::new(self.draws.range(1_024, 1_030) as u16),
            false => None,
        };
        let families = stage.chosen.kinds[door.node as usize].families;
        let addresses: Vec<SocketAddr> = (0..2)
            .filter(|family| families[*family])
            .map(|family| {
                let mut address = address_of(door.node, family);
                address.set_port(port.map_or(PORTS[family], NonZeroU16::get));
                address
            })
            .collect();
        let keeps = self.draws.chance(0.3);
        stage.ledger().announce(info_hash, &addresses);
        let request = Request::Announce {
            info_hash,
            port,
            is_seed: false,
        };
        self.carry_out(door, request, keeps).await;
        let keeper = Person::keeper(keeps, door);
        let now = stage.world.now();
        stage.ledger().announced(info_hash, &addresses, now, keeper);
    }

    /// Looks for peers, and checks who is found.
    pub(super) async fn get_peers(&mut self, door: &Door, info_hash: Id) -> Option<Outcome> {
        let request = Request::GetPeers {
            info_hash,
            no_seeds: false,
        };
        let outcome = self.run(door, request).await?;
        let stage = &self.stage;
        stage
            .ledger()
            .check_peers(stage, door, &outcome, peer_lifetime());
        Some(outcome)
    }

    /// An id by lot.
    pub(super) fn some_id(&mut self) -> Id {
        some_id(&mut self.draws)
    }
}

/// Stops nodes in order, fills disks for a while, cuts power while tables are written, and makes a name known.
pub(super) async fn operate(stage: Stage, host: Host, stops: Arc<Vec<Notify>>) {
    let world = &stage.world;
    let plan = world.plan();
    let mut draws = Draws::new(plan.seed, Domain::Workload, OPERATOR);
    let pause = (world.horizon() / 10).as_nanos() as u64;
    let mut late = stage.chosen.late_name.flatten();
    let (stops_nodes, fills_disks) = (draws.chance(0.6), draws.chance(0.4));
    let cuts_power = draws.chance(0.7);
    let (mut full, mut armed) = (None, None);
    loop {
        let rest = world.horizon().saturating_sub(world.now());
        let pause = Duration::from_nanos(draws.exponential(pause).max(1)).min(rest);
        host.sleep(pause).await;
        if let Some(at) = late
            && world.now() >= at
        {
            late = None;
            world.add_name(LATE_NAME, vec![World::ip(plan.nodes - 1)]);
            world.mark("name-resolved-later");
        }
        if let Some(node) = full.take() {
            world.disk(node, |disk| disk.set_space(Space::Free));
        }
        if let Some(node) = armed.take() {
            world.crash_at_disk_op(node, u64::MAX);
            // A disk that was in the middle of it has lost its power by then.
            host.sleep(AFTER_A_CUT).await;
            if !world.is_running(node) {
                world.restart(node);
            }
        }
        if world.now() >= world.horizon() {
            return;
        }
        if cuts_power {
            // The next save, or the first start: whichever is at work next.
            let node = draws.range(0, u64::from(plan.nodes)) as u32;
            world.crash_at_disk_op(node, draws.range(0, SAVE_OPERATIONS));
            armed = Some(node);
        }
        let node = draws.range(0, u64::from(plan.nodes)) as u32;
        if stops_nodes && draws.chance(0.6) {
            stops[node as usize].notify_waiters();
        }
        if fills_disks {
            let node = draws.range(0, u64::from(plan.nodes)) as u32;
            world.disk(node, |disk| disk.set_space(Space::Full));
            full = Some(node);
        }
    }
}
