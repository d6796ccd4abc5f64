//! Asks every node, by its own datagrams and not through a lookup, what it stores.

use super::{choose::PORTS, stage::Stage};
use holdfast_host::{Datagrams, Host};
use holdfast_kademlia::{
    Id, Message,
    krpc::{Body, Call, ITEM_REPLY_LIMIT_BYTES, Query},
};
use holdfast_sim::{
    draw::{Domain, Draws},
    full::World,
};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// How long answers are waited for. Nodes answer five queries a second of one source for ever.
const WAIT: Duration = Duration::from_millis(400);
/// How many times those are asked again that did not answer.
const ATTEMPTS: u32 = 3;
/// The mean pause of who watches.
const PAUSE_NS: u64 = 8_000_000_000;
/// A node may forget what it was not told for so long, and take an older version then.
const MEMORY: Duration = Duration::from_secs(100 * 60);
/// Entities of [`Domain::Workload`].
const WATCH: u64 = 1 << 50;

/// The node that listens at an address.
pub(super) fn node_at(address: SocketAddr) -> Option<u32> {
    let number = match address {
        SocketAddr::V4(v4) => u32::from(*v4.ip()) & 0xff_ffff,
        SocketAddr::V6(v6) => (u128::from(*v6.ip()) >> 64) as u32,
    };
    let number = number.checked_sub(1)?;
    let place = usize::from(address.is_ipv6());
    let is_there = address.ip() == address_of(number, place).ip() && address.port() == PORTS[place];
    is_there.then_some(number)
}

/// Where a node listens: in IPv4, or in IPv6.
pub(super) fn address_of(node: u32, family: usize) -> SocketAddr {
    let ip = match family {
        0 => World::ip(node),
        _ => World::ip6(node),
    };
    SocketAddr::new(ip, PORTS[family])
}

/// What a node's process stores under a target, in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Which process.
    pub start: u32,
    /// Sequence number and value, if it stores any.
    pub item: Option<(Option<i64>, Vec<u8>)>,
}

/// Who asks.
pub(super) struct Census {
    stage: Stage,
    host: Host,
    sockets: [Datagrams; 2],
    id: Id,
    transaction: u32,
    pub asked: u64,
}

impl Census {
    pub(super) async fn new(stage: &Stage, host: &Host) -> Option<Census> {
        let v4 = host
            .network
            .bind((Ipv4Addr::UNSPECIFIED, 0).into())
            .await
            .ok()?;
        let v6 = host
            .network
            .bind((Ipv6Addr::UNSPECIFIED, 0).into())
            .await
            .ok()?;
        Some(Census {
            stage: stage.clone(),
            host: host.clone(),
            sockets: [v4, v6],
            id: Id::random(&mut host.rng("census")),
            transaction: 0,
            asked: 0,
        })
    }

    /// What each process that runs stores under a target, as far as it answers.
    pub(super) async fn take(&mut self, target: Id) -> BTreeMap<SocketAddr, Stored> {
        let mut left = BTreeMap::new();
        for door in self.stage.doors() {
            let kind = self.stage.chosen.kinds[door.node as usize];
            for (family, is_in) in kind.families.into_iter().enumerate() {
                if is_in && !kind.is_read_only {
                    left.insert(address_of(door.node, family), door.start);
                }
            }
        }
        let mut found = BTreeMap::new();
        for _ in 0..ATTEMPTS {
            if left.is_empty() {
                break;
            }
            self.transaction += 1;
            self.ask(target, left.keys());
            self.listen(&mut left, &mut found).await;
        }
        found
    }

    fn ask<'a>(&mut self, target: Id, whom: impl Iterator<Item = &'a SocketAddr>) {
        let call = Call::Get {
            target,
            sequence: None,
            want: None,
        };
        let mut query = Query::new(self.id, call);
        query.is_read_only = true;
        let transaction = self.transaction.to_be_bytes();
        let mut bytes = Vec::new();
        Message::query(&transaction, query).encode_padded(ITEM_REPLY_LIMIT_BYTES, &mut bytes);
        for to in whom {
            // What is not sent is not answered.
            let _ = self.sockets[usize::from(to.is_ipv6())].try_send_to(&bytes, *to);
            self.asked += 1;
        }
    }

    /// Takes answers until the time is over.
    async fn listen(
        &mut self,
        left: &mut BTreeMap<SocketAddr, u32>,
        found: &mut BTreeMap<SocketAddr, Stored>,
    ) {
        let mut over = std::pin::pin!(self.host.sleep(WAIT));
        let transaction = self.transaction.to_be_bytes();
        let (stage, sockets) = (&self.stage, &mut self.sockets);
        let mut buffer = vec![0; 2 * ITEM_REPLY_LIMIT_BYTES];
        std::future::poll_fn(|cx| {
            for socket in sockets.iter_mut() {
                while let std::task::Poll::Ready(received) = socket.poll_receive(cx, &mut buffer) {
                    let Ok((length, from)) = received else { break };
                    let Ok(message) = Message::decode(&buffer[..length]) else {
                        continue;
                    };
                    let Body::Reply(reply) = message.body else {
                        continue;
                    };
                    if message.transaction != transaction {
                        continue;
                    }
                    let (Some(start), Some(node)) = (left.remove(&from), node_at(from)) else {
                        continue;
                    };
                    if stage.start_of(node) == start {
                        let value = reply.item.value;
                        let item = value.map(|value| (reply.item.sequence, value.bytes().to_vec()));
                        found.insert(from, Stored { start, item });
                    }
                }
            }
            match left.is_empty() {
                true => std::task::Poll::Ready(()),
                false => over.as_mut().poll(cx),
            }
        })
        .await;
    }
}

/// Watches what nodes store of mutable items: the number never goes back while the process lives.
pub(super) async fn watch(stage: Stage, host: Host) {
    let Some(mut census) = Census::new(&stage, &host).await else {
        return;
    };
    let plan = stage.world.plan();
    let mut draws = Draws::new(plan.seed, Domain::Workload, WATCH);
    let mut known: BTreeMap<(SocketAddr, u32, Id), (i64, Duration)> = BTreeMap::new();
    while stage.world.now() < stage.world.horizon() {
        host.sleep(Duration::from_nanos(draws.exponential(PAUSE_NS)))
            .await;
        let mutable: Vec<Id> = {
            let ledger = stage.ledger();
            let items = ledger.items.iter();
            items
                .filter(|(_, item)| item.owner.is_some())
                .map(|(target, _)| *target)
                .collect()
        };
        if mutable.is_empty() {
            continue;
        }
        let target = *draws.pick(&mutable);
        let now = stage.world.now();
        for (address, stored) in census.take(target).await {
            let Some((Some(sequence), _)) = stored.item else {
                continue;
            };
            let before = known.insert((address, stored.start, target), (sequence, now));
            if let Some((before, at)) = before
                && before > sequence
                && now < at + MEMORY
            {
                let message =
                    format!("{address} had number {before} of {target}, and has {sequence}");
                stage
                    .world
                    .fail("sequence-goes-back", message, node_at(address));
            }
        }
    }
}
