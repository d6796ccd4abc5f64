use crate::{
    LocalNode, Mutant, Settings, SettingsError,
    driver::Driver,
    handle::{COMMANDS, Command, DhtHandle, Known},
    local::{Half, Local, Side},
    ready::Ready,
    saves,
    settings::split_address,
};
use holdfast_host::Host;
use holdfast_kademlia::{
    Config, Id, Nanos, Node, QUESTIONABLE_AFTER, Saved, krpc::Contact, secure_id,
};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tokio::sync::mpsc;

/// How long after names could not be resolved they are tried again, at first and at most.
const RESOLVE_AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// Why no node is started.
#[derive(Debug, Error)]
pub enum StartError {
    /// What is asked for cannot work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// An address cannot be listened on.
    #[error("cannot listen for the DHT on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

/// Starts local nodes.
pub struct Dht;

impl Dht {
    /// Binds the sockets, reads what was saved, and starts the task. Joining goes on behind: a node that knows nobody yet
    /// takes lookups, and finds nothing.
    ///
    /// # Errors
    /// When an address cannot be bound; then nothing is. A table that cannot be read is only told in the log.
    pub async fn start(host: &Host, settings: Settings) -> Result<DhtHandle, StartError> {
        settings.validate()?;
        let config = Arc::new(settings.config.clone());
        let saved = match settings.directory.clone() {
            None => settings.nodes.iter().map(|_| None).collect(),
            Some(directory) => {
                let count = settings.nodes.len();
                let planted = settings.config.mutant;
                host.blocking(move |disk| saves::load(disk, &directory, count, planted))
                    .await
            }
        };
        let ready = Arc::new(Ready::default());
        let mut rng = host.rng("dht");
        let mut locals = Vec::with_capacity(settings.nodes.len());
        let mut ids = Ids::of(&settings.nodes);
        for (number, (node, saved)) in settings.nodes.iter().zip(saved).enumerate() {
            let mut start = Start {
                host,
                config: &config,
                ready: &ready,
                rng: &mut rng,
                ids: &mut ids,
                number: number as u32,
                mutant: settings.mutant,
            };
            locals.push(start.local(node, saved).await?);
        }
        let known = locals.iter().map(|local| Known {
            id: local.id,
            v4: local.v4.as_ref().map(|half| half.address.into()),
            v6: local.v6.as_ref().map(|half| half.address.into()),
        });
        let known: Arc<[Known]> = known.collect();
        let (commands, queue) = mpsc::channel(COMMANDS);
        let addresses = settings.bootstrap.clone();
        let mut driver = Driver::new(host.clone(), &settings, locals, ready, queue, rng);
        if !addresses.is_empty() {
            let resolving = resolve(host.clone(), addresses, commands.downgrade());
            driver.ends_with(host.spawn("dht-bootstrap", resolving));
        }
        drop(host.spawn("dht", driver.run()));
        Ok(DhtHandle { commands, known })
    }
}

/// The ids of this host's nodes: each its own, and far from the others, so that no slice of the id space goes with the
/// host when it fails (BEP 45, "Mandatory").
struct Ids {
    taken: BTreeSet<Id>,
    /// Two share fewer first bits than this, if chance allows.
    nearest: u32,
}

impl Ids {
    /// How often an id is drawn again that is near another. One that is tied to an address has a choice of eight (BEP
    /// 42).
    const TRIES: usize = 64;
    /// Bits that two may share, beyond those that as many ids in equal distances share.
    const SLACK: u32 = 3;

    /// Of these nodes; those that are told their ids are known.
    fn of(nodes: &[LocalNode]) -> Ids {
        Ids {
            taken: nodes.iter().filter_map(|node| node.id).collect(),
            nearest: nodes.len().next_power_of_two().ilog2() + Ids::SLACK,
        }
    }

    fn has(&self, id: Id) -> bool {
        self.taken.contains(&id)
    }

    fn add(&mut self, id: Id) {
        self.taken.insert(id);
    }

    /// An id that is not near the others.
    fn draw(&self, mut draw: impl FnMut() -> Id) -> Id {
        let is_near = |id: Id| {
            // Who shares most bits with it is the next one above or below.
            let below = self.taken.range(..=id).next_back();
            let above = self.taken.range(id..).next();
            let mut both = below.into_iter().chain(above);
            both.any(|other| other.shared_bits(id) >= self.nearest)
        };
        let mut id = draw();
        for _ in 0..Ids::TRIES {
            if !is_near(id) {
                break;
            }
            id = draw();
        }
        id
    }
}

/// What one node is started with.
struct Start<'a> {
    host: &'a Host,
    config: &'a Arc<Config>,
    ready: &'a Arc<Ready>,
    rng: &'a mut ChaCha8Rng,
    ids: &'a mut Ids,
    number: u32,
    mutant: Option<Mutant>,
}

impl Start<'_> {
    async fn local(&mut self, node: &LocalNode, saved: Option<Saved>) -> Result<Local, StartError> {
        let fits = |id: Id| node.external.is_none_or(|ip| secure_id::is_valid(id, ip));
        let saved_id = saved.as_ref().map(|saved| saved.id).filter(|id| fits(*id));
        let forgets = Mutant::IdForgotten.is_in(self.mutant);
        // The files of two nodes may be copies of one.
        let saved_id = saved_id.filter(|id| !forgets && !self.ids.has(*id));
        let id = match node.id.or(saved_id) {
            Some(id) => id,
            None => self.ids.draw(|| match node.external {
                Some(ip) => secure_id::generate(ip, self.rng),
                None => Id::random(self.rng),
            }),
        };
        self.ids.add(id);
        let saved = saved.unwrap_or_default();
        let v4 = match node.v4 {
            Some(address) => Some(self.half(id, address, &saved.v4).await?),
            None => None,
        };
        let v6 = match node.v6 {
            Some(address) => Some(self.half(id, address, &saved.v6).await?),
            None => None,
        };
        Ok(Local {
            id,
            v4,
            v6,
            wakes_at: Nanos::MAX,
            is_touched: false,
        })
    }

    async fn half<A: Side>(
        &mut self,
        id: Id,
        address: A,
        saved: &[Contact<A>],
    ) -> Result<Half<A>, StartError> {
        let address = address.into();
        let bound = self.host.network.bind(address).await;
        let socket = bound.map_err(|error| StartError::Bind { address, error })?;
        let local = socket.local_addr();
        let bound = A::of(local).ok_or_else(|| StartError::Bind {
            address,
            error: io::Error::other(format!("the host has bound {local}")),
        })?;
        let now = self.host.now().as_nanos();
        let mut node = Node::new(id, self.config.clone(), now, self.rng);
        // They answered once, who knows when: they are asked before they are believed to live.
        let answered = now.saturating_sub(QUESTIONABLE_AFTER + 1);
        for contact in saved {
            node.adopt(answered, *contact);
        }
        Ok(Half {
            node,
            socket,
            address: bound,
            ticket: self.ready.ticket(self.number * 2 + A::FAMILY as u32),
            lookups: BTreeMap::new(),
        })
    }
}

/// Finds the addresses of those to begin with, and tells the task; again and again until every name had an answer.
async fn resolve(host: Host, addresses: Vec<String>, commands: mpsc::WeakSender<Command>) {
    let mut left = addresses;
    let mut pause = RESOLVE_AGAIN.0;
    loop {
        let mut again = Vec::new();
        let mut found = Vec::new();
        for address in left {
            let Ok((name, port)) = split_address(&address) else {
                continue;
            };
            match host.network.resolve(name, port).await {
                Ok(resolved) => found.extend(resolved),
                Err(error) => {
                    tracing::warn!(address, %error, "an address to begin with cannot be resolved");
                    again.push(address);
                }
            }
        }
        if !found.is_empty() {
            let Some(commands) = commands.upgrade() else {
                return;
            };
            if commands.send(Command::Join(found)).await.is_err() {
                return;
            }
        }
        if again.is_empty() {
            return;
        }
        left = again;
        host.sleep(pause).await;
        pause = (pause * 2).min(RESOLVE_AGAIN.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_kademlia::secure_id;
    use rand_chacha::rand_core::SeedableRng;
    use std::net::IpAddr;

    /// The most first bits that two of these ids share.
    fn nearest(ids: &Ids) -> u32 {
        let taken: Vec<Id> = ids.taken.iter().copied().collect();
        let near = taken.windows(2).map(|two| two[0].shared_bits(two[1]));
        near.max().unwrap_or(0)
    }

    fn drawn(count: usize, mut draw: impl FnMut(usize, &mut ChaCha8Rng) -> Id) -> Ids {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut ids = Ids::of(&vec![LocalNode::default(); count]);
        for number in 0..count {
            let id = ids.draw(|| draw(number, &mut rng));
            ids.add(id);
        }
        assert_eq!(ids.taken.len(), count, "each has its own");
        ids
    }

    #[test]
    fn ids_of_a_host_are_far_from_each_other() {
        for (count, bits) in [(2, 4), (16, 7), (256, 11), (1_000, 13)] {
            let ids = drawn(count, |_, rng| Id::random(rng));
            assert!(nearest(&ids) < bits, "{count}: {}", nearest(&ids));
        }
        // At random some are nearer, which is what the drawing is for.
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut plain = Ids::of(&[]);
        (0..256).for_each(|_| plain.add(Id::random(&mut rng)));
        assert!(nearest(&plain) >= 11, "{}", nearest(&plain));
    }

    #[test]
    fn ids_that_are_tied_to_addresses_are_as_far_as_these_allow() {
        let ip = |number: usize| IpAddr::from([203, 0, 113, number as u8]);
        let ids = drawn(40, |number, rng| secure_id::generate(ip(number), rng));
        assert!(nearest(&ids) < 9, "{}", nearest(&ids));
        // More than one address has room for.
        drawn(20, |_, rng| secure_id::generate(ip(1), rng));
    }
}
