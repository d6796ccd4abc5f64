//! What a seed means: what befalls the machines and for how long, who is a member and what it was told, and what blobs
//! there are.

use holdfast_blobs::{BlobId, FetchSettings, StoreLimits};
use holdfast_node::{
    config::NodeConfig,
    discovery::{ClusterSecret, ItemName},
};
use holdfast_peers::{LocalNode, Settings};
use holdfast_sim::{
    draw::{Domain, Draws},
    full::World,
    plan::{FaultKind, FaultPlan, Menu, Recipe},
};
use std::{
    net::{SocketAddr, SocketAddrV4},
    path::PathBuf,
    time::Duration,
};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

/// Where nodes listen for clients, and strangers for those whom they lie to.
pub(super) const CLIENT_PORT: u16 = 7480;
/// Where a member that stays listens for its peers. One that moves takes the next ports in turns.
const PEER_PORT: u16 = 7481;
/// Where a member that moves may be.
const PLACES: u32 = 4;
/// Where everybody is in the DHT.
pub(super) const DHT_PORT: u16 = 6881;
/// A member's data.
const DATA: &str = "/data";
/// The secret of the cluster's key.
pub(super) const KEY_FILE: &str = "/secret/cluster.key";
/// Where a neighbour keeps its table.
const TABLES: &str = "/dht";
/// Where a neighbour keeps what it fetches.
pub(super) const DOWNLOADS: &str = "/downloads";
/// Blobs that there are.
pub(super) const BLOBS: usize = 12;
/// How many times as long disks take at most.
const SLOWEST_DISK: u32 = 40;
/// Time after the last fault until tables know others again; see the scenario `kademlia`.
const TABLES_SETTLED: Duration = Duration::from_secs(36 * 60);
/// After that, until what is kept in the DHT is there again: longer than the pause between two announcements.
const ANNOUNCED: Duration = Duration::from_secs(17 * 60);
/// What a round of discovery may take beyond its interval, a second one after others had come between included.
const ROUND: Duration = Duration::from_secs(4 * 60);
/// What the judge needs besides.
const JUDGEMENT: Duration = Duration::from_secs(12 * 60);
/// After so long items that nobody stored again are gone everywhere, as far as clocks are right.
pub(super) const ITEMS_EXPIRED: Duration = Duration::from_secs(126 * 60);

/// Entities of [`Domain::Scenario`].
const SHAPE: u64 = 1;
const MEMBERS: u64 = 2;
const CONTENT: u64 = 1 << 32;

/// What a member was told, and does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// It was told where the members are; others look for them.
    pub is_told: bool,
    /// It has the secret of the cluster's key.
    pub writes: bool,
    /// It listens for its peers somewhere else after each start.
    pub moves: bool,
}

/// All that a seed decides beside the plan.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// The members: the first machines. The others are neighbours in the DHT, and fetch blobs.
    pub members: Vec<Kind>,
    /// How often the cluster's item is looked up.
    pub interval: Duration,
    /// How long after the others the members begin that were told the members.
    pub late: Duration,
    /// How long a node that looks for its members does so before it gives up.
    pub patience: Duration,
    election_timeout: Duration,
    save_interval: Duration,
    /// What a member stores.
    pub limits: StoreLimits,
    /// The lengths of all blobs. The second is too long.
    pub lengths: Vec<u64>,
    piece_bytes: u64,
    /// The mean pause of a person.
    pub pause: Duration,
    /// Strangers who say that they have blobs.
    pub liars: u32,
    /// Whether one of them stores old lists again.
    pub replays: bool,
    /// Whether somebody close to the item gives lists that the cluster's key has not signed.
    pub forges: bool,
    /// The probability that a blob is damaged while its node is down.
    pub damage: f64,
    /// Whether people's blobs meet power cuts more often than others do.
    pub cuts_puts: bool,
    /// Whether all members are away for so long that the DHT forgets them.
    pub is_forgotten: bool,
}

/// What befalls the machines in a seed.
pub(super) fn plan(seed: u64) -> FaultPlan {
    let mut plan = FaultPlan::draw(seed, &menu());
    let mut shape = Draws::new(seed, Domain::Scenario, SHAPE);
    // The recipes are made for elections that take less than a second; here they take many.
    let slowness = shape.magnitude(2, 12);
    plan.horizon_ns *= slowness;
    for fault in &mut plan.faults {
        fault.at_ns *= slowness;
        fault.until_ns = fault.until_ns.map(|until| until * slowness);
        if let FaultKind::SlowDisk { factor, .. } = &mut fault.kind {
            *factor = (*factor).min(SLOWEST_DISK);
        }
    }
    let chosen = choose(&plan);
    let mut liveness = chosen.settling() + JUDGEMENT;
    if chosen.is_forgotten {
        liveness += ITEMS_EXPIRED + chosen.settling() + JUDGEMENT;
    }
    plan.liveness_ns = liveness.as_nanos() as u64;
    plan
}

fn menu() -> Menu {
    let mut menu = Menu::new(super::NAME);
    menu.node_counts = vec![9, 9, 10, 11, 12];
    menu.recipes.push(Recipe::SyncError);
    menu.horizon_ns = MINUTE;
    menu
}

/// Draws the rest.
pub(super) fn choose(plan: &FaultPlan) -> Chosen {
    let mut draws = Draws::new(plan.seed, Domain::Scenario, MEMBERS);
    let count = if plan.nodes > 10 && draws.chance(0.5) {
        5
    } else {
        3
    };
    let mover = if draws.chance(0.7) { 0.6 } else { 0.0 };
    let members = (0..count)
        .map(|member| {
            let is_told = member <= count / 2;
            let (writes, moves) = (draws.chance(0.7), draws.chance(mover));
            let writes = member == 0 || moves || writes;
            Kind {
                is_told,
                writes,
                moves,
            }
        })
        .collect();
    let blob_bytes = (16 << 10) * draws.magnitude(1, 90) + draws.range(0, 2);
    let lengths = (0..BLOBS)
        .map(|blob| match blob {
            0 => blob_bytes,
            1 => blob_bytes + 1,
            2 => draws.range(0, 3),
            // A piece of the node's, and one byte beside it.
            3 => ((256 << 10) + draws.range(0, 3) - 1).min(blob_bytes),
            _ => draws.magnitude(1, blob_bytes),
        })
        .collect();
    let horizon = Duration::from_nanos(plan.horizon_ns);
    let has_strangers = draws.chance(0.6);
    Chosen {
        members,
        interval: Duration::from_nanos(draws.magnitude(20 * SECOND, 8 * MINUTE)),
        late: match draws.chance(0.4) {
            true => Duration::from_nanos(draws.magnitude(SECOND, plan.horizon_ns / 3)),
            false => Duration::ZERO,
        },
        patience: Duration::from_nanos(draws.magnitude(20 * SECOND, 10 * MINUTE)),
        election_timeout: Duration::from_nanos(draws.magnitude(4 * SECOND, 20 * SECOND)),
        save_interval: Duration::from_nanos(draws.magnitude(2 * SECOND, 300 * SECOND)),
        limits: StoreLimits {
            blob_bytes,
            store_bytes: blob_bytes * draws.range(2, 7) + draws.range(0, 1_000),
            blobs: draws.range(4, 14) as usize,
        },
        lengths,
        piece_bytes: draws.magnitude(4 << 10, 256 << 10),
        pause: (horizon / 60).max(Duration::from_secs(1)),
        liars: match has_strangers {
            true => draws.range(1, 3) as u32,
            false => 0,
        },
        replays: draws.chance(0.5),
        forges: draws.chance(0.4),
        damage: if draws.chance(0.5) { 0.4 } else { 0.0 },
        cuts_puts: draws.chance(0.5),
        is_forgotten: draws.chance(0.2),
    }
}

/// The secret of the cluster's key.
pub(super) const CLUSTER_SEED: [u8; 32] = [0x7a; 32];

/// What the cluster's item is called.
pub(super) fn item_name() -> ItemName {
    let key = ClusterSecret::from_seed(&CLUSTER_SEED).public();
    ItemName::new(key, NodeConfig::default().cluster.identity())
}

/// Where a member's blobs are.
pub(super) fn blobs_directory() -> PathBuf {
    PathBuf::from(DATA).join("blobs")
}

impl Chosen {
    /// How long after the last fault everything must be well.
    pub(super) fn settling(&self) -> Duration {
        TABLES_SETTLED + ANNOUNCED.max(2 * self.interval + ROUND)
    }

    /// How many members there are.
    pub(super) fn count(&self) -> u32 {
        self.members.len() as u32
    }

    /// What a blob is.
    pub(super) fn content(&self, seed: u64, blob: usize) -> Vec<u8> {
        let mut draws = Draws::new(seed, Domain::Scenario, CONTENT + blob as u64);
        let length = self.lengths[blob] as usize;
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&draws.bits().to_be_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Whether no member may take it.
    pub(super) fn is_too_large(&self, blob: usize) -> bool {
        self.lengths[blob] > self.limits.blob_bytes
    }

    /// Where a member listens for its peers after a start, the first is 1.
    pub(super) fn peer_address(&self, member: u32, start: u32) -> SocketAddr {
        let place = match self.members[member as usize].moves {
            true => (start.max(1) - 1) % PLACES,
            false => 0,
        };
        SocketAddr::new(World::ip(member), PEER_PORT + place as u16)
    }

    /// Where a member listens for clients.
    pub(super) fn client_address(member: u32) -> SocketAddr {
        SocketAddr::new(World::ip(member), CLIENT_PORT)
    }

    /// Where everybody was told that a member listens for its peers.
    pub(super) fn told_address(member: u32) -> String {
        format!("{}:{PEER_PORT}", super::name(member))
    }

    /// Whom those begin with who are in the DHT: some neighbours.
    fn bootstrap(&self) -> Vec<String> {
        let known = self.count()..self.count() + 3;
        known
            .map(|node| format!("{}:{DHT_PORT}", super::name(node)))
            .collect()
    }

    /// What a member is started with.
    pub(super) fn config(&self, member: u32, start: u32) -> NodeConfig {
        let kind = self.members[member as usize];
        let mut config = NodeConfig::default();
        config.node.id = u64::from(member) + 1;
        config.node.data = DATA.into();
        config.node.listen = Chosen::client_address(member);
        config.node.peer_listen = self.peer_address(member, start);
        config.node.insecure = true;
        if kind.is_told {
            config.cluster.peers = (0..self.count())
                .map(|peer| (u64::from(peer) + 1, Chosen::told_address(peer)))
                .collect();
        }
        config.raft.election_timeout = self.election_timeout;
        config.raft.heartbeat_interval = self.election_timeout / 5;
        config.links.enabled = false;
        config.dht.enabled = true;
        config.dht.listen = dht_address(member);
        config.dht.bootstrap = self.bootstrap();
        config.dht.save_interval = self.save_interval;
        config.discovery.key = Some(item_name().key);
        if kind.writes {
            config.discovery.key_file = Some(KEY_FILE.into());
        }
        config.discovery.interval = self.interval;
        config.discovery.patience = self.patience;
        config.blobs.enabled = true;
        config.blobs.blob_bytes = self.limits.blob_bytes;
        config.blobs.store_bytes = self.limits.store_bytes;
        config.blobs.blobs = self.limits.blobs;
        config
    }

    /// What somebody is in the DHT with who is no member; `directory`: where its table is kept.
    pub(super) fn dht(&self, machine: u32, is_kept: bool) -> Settings {
        Settings {
            nodes: vec![LocalNode {
                v4: Some(dht_address(machine)),
                ..LocalNode::default()
            }],
            bootstrap: self.bootstrap(),
            directory: is_kept.then(|| TABLES.into()),
            save_interval: self.save_interval,
            ..Settings::default()
        }
    }

    /// How blobs are fetched.
    pub(super) fn fetching(
        &self,
        patience: Duration,
        mutant: Option<holdfast_blobs::Mutant>,
    ) -> FetchSettings {
        FetchSettings {
            blob_bytes: self.limits.blob_bytes,
            piece_bytes: self.piece_bytes,
            patience,
            mutant,
            ..FetchSettings::default()
        }
    }
}

/// Where a machine is in the DHT.
pub(super) fn dht_address(machine: u32) -> SocketAddrV4 {
    match World::ip(machine) {
        std::net::IpAddr::V4(ip) => SocketAddrV4::new(ip, DHT_PORT),
        std::net::IpAddr::V6(_) => unreachable!("machines are numbered in IPv4"),
    }
}

/// All blobs of a seed, and their names.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    /// Its name.
    pub id: BlobId,
    /// What it is.
    pub content: bytes::Bytes,
}

impl Blob {
    /// All of them.
    pub(super) fn all(plan: &FaultPlan, chosen: &Chosen) -> Vec<Blob> {
        (0..BLOBS)
            .map(|blob| {
                let content = chosen.content(plan.seed, blob);
                Blob {
                    id: BlobId::of(&content),
                    content: content.into(),
                }
            })
            .collect()
    }
}
