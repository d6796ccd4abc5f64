//! Networks of several kinds of nodes: ours, libtorrent's and bittorrent-dht's. What one kind stores, every kind finds.
//!
//! All are on loopback and know of nobody else: in IPv4 each on an address of its own; in IPv6, where loopback has one
//! address, each on a port of its own; and nodes of both families at once. bittorrent-dht is in the networks of IPv4
//! alone, since it has no BEP 32: it knows no `nodes6`, and its socket is one of IPv4.
// This test starts processes.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod foreign;

use foreign::Foreign;
use holdfast_host::{Host, tokio_host};
use holdfast_kademlia::{
    Id, Request,
    item::{SecretKey, mutable_target},
    limiter::RateLimits,
};
use holdfast_peers::{Dht, DhtHandle, FamilyStatus, LocalNode, NewItem, Settings};
use serde_json::{Value, json};
use std::{
    fmt,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    num::NonZeroU16,
    path::PathBuf,
    time::Duration,
};
use tokio::runtime::Runtime;

/// How many nodes of each kind.
const OURS: usize = 20;
const THEIRS: usize = 5;
/// How long anything is tried before the test fails: datagrams get lost, and clients wait for answers that do not come.
const PATIENCE: Duration = Duration::from_secs(180);

/// In which DHTs the nodes of a network are, which know nothing of each other (BEP 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Families {
    V4,
    V6,
    Both,
}

impl Families {
    fn has_v4(self) -> bool {
        self != Families::V6
    }

    fn has_v6(self) -> bool {
        self != Families::V4
    }

    fn count(self) -> usize {
        usize::from(self.has_v4()) + usize::from(self.has_v6())
    }

    /// The addresses of node `n`, from 1, of a kind.
    fn addresses(self, kind: u8, n: u8) -> Vec<IpAddr> {
        let v4 = self.has_v4().then_some(Ipv4Addr::new(127, 0, kind, n));
        let v6 = self.has_v6().then_some(Ipv6Addr::LOCALHOST);
        v4.map(IpAddr::from)
            .into_iter()
            .chain(v6.map(IpAddr::from))
            .collect()
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Families::V4 => "in IPv4",
            Families::V6 => "in IPv6",
            Families::Both => "in both families",
        })
    }
}

/// Who is asked.
enum Kind {
    Ours(DhtHandle),
    Theirs(Foreign),
}

/// A network, and a way to wait.
struct Network {
    runtime: Runtime,
    host: Host,
    families: Families,
    kinds: Vec<Kind>,
    _folder: tempfile::TempDir,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Ours(_) => "holdfast",
            Kind::Theirs(foreign) => foreign.name,
        })
    }
}

impl Network {
    fn new(families: Families) -> Network {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::new().expect("a runtime");
        let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
        let mut settings = Settings {
            nodes: (1..=OURS as u8).map(|n| local(families, n)).collect(),
            ..Settings::default()
        };
        settings.config.rates = RateLimits::NONE;
        // The ids of those on loopback are whatever they like, and of one network there may be as many as there are:
        // both rules are in force, and make an exception for local addresses (BEP 42).
        settings.config.secure_ids = true;
        let ours = runtime.block_on(Dht::start(&host, settings));
        let ours = ours.expect("loopback has ports");
        let first = ours.addresses(0).into_iter().flatten().collect();
        ours.join(first).expect("it runs");
        Network {
            runtime,
            host,
            families,
            kinds: vec![Kind::Ours(ours)],
            _folder: folder,
        }
    }

    fn ours(&self) -> &DhtHandle {
        match &self.kinds[0] {
            Kind::Ours(handle) => handle,
            Kind::Theirs(_) => panic!("ours come first"),
        }
    }

    /// Adds nodes of another kind, and waits until all know others.
    fn add(&mut self, mut foreign: Foreign) {
        let kind = self.kinds.len() as u8 + 1;
        let listen = |n| {
            let all = self.families.addresses(kind, n).into_iter();
            let all = all.map(|ip| SocketAddr::new(ip, 0).to_string());
            all.collect::<Vec<_>>().join(",")
        };
        let addresses: Vec<String> = (1..=THEIRS as u8).map(listen).collect();
        foreign.ask(json!({"do": "start", "addresses": addresses}));
        for node in 0..3 {
            for seed in self.ours().addresses(node).into_iter().flatten() {
                let (host, port) = (seed.ip().to_string(), seed.port());
                foreign.ask(json!({"do": "join", "host": host, "port": port}));
            }
        }
        let name = foreign.name;
        self.until(&format!("nodes of {name} know others"), |_| {
            let counts = foreign.ask(json!({"do": "known"}));
            let counts = counts["counts"].as_array().expect("a list").clone();
            counts
                .iter()
                .all(|count| count.as_u64() >= Some(6))
                .then_some(())
        });
        self.kinds.push(Kind::Theirs(foreign));
    }

    /// Tries until there is something.
    fn until<T>(&self, what: &str, mut attempt: impl FnMut(&Network) -> Option<T>) -> T {
        let end = self.host.now().saturating_add(PATIENCE);
        loop {
            if let Some(value) = attempt(self) {
                return value;
            }
            assert!(self.host.now() < end, "in vain: {what}");
            self.runtime
                .block_on(self.host.sleep(Duration::from_millis(200)));
        }
    }

    /// Tries with one of a kind until there is something.
    fn until_of<T>(
        &mut self,
        kind: usize,
        what: &str,
        mut attempt: impl FnMut(&Runtime, &mut Kind) -> Option<T>,
    ) -> T {
        let end = self.host.now().saturating_add(PATIENCE);
        loop {
            if let Some(value) = attempt(&self.runtime, &mut self.kinds[kind]) {
                return value;
            }
            let name = &self.kinds[kind];
            assert!(self.host.now() < end, "{name}, in vain: {what}");
            self.runtime
                .block_on(self.host.sleep(Duration::from_millis(200)));
        }
    }
}

fn local(families: Families, n: u8) -> LocalNode {
    let mut node = LocalNode {
        v4: None,
        ..LocalNode::default()
    };
    for ip in families.addresses(1, n) {
        match ip {
            IpAddr::V4(ip) => node.v4 = Some(SocketAddrV4::new(ip, 0)),
            IpAddr::V6(ip) => node.v6 = Some(SocketAddrV6::new(ip, 0, 0, 0)),
        }
    }
    node
}

/// The second node of a kind stores, the fourth finds: never the same one.
const WRITER: usize = 1;
const READER: usize = 3;
const SALT: &str = "mixed";

impl Kind {
    /// Stores a text, and says what it is stored under.
    fn put(&mut self, runtime: &Runtime, text: &str) -> Option<Id> {
        match self {
            Kind::Ours(handle) => {
                let item = NewItem::immutable(NewItem::text(text.as_bytes())).expect("an item");
                let put = runtime.block_on(handle.put(WRITER, item)).expect("it ends");
                (put.stored() > 0).then_some(put.target)
            }
            Kind::Theirs(foreign) => {
                let answer = foreign.ask(json!({"do": "put", "node": WRITER, "text": text}));
                let target = answer["target"].as_str()?.parse().expect("an id");
                (answer["stored"].as_u64() > Some(0)).then_some(target)
            }
        }
    }

    fn get(&mut self, runtime: &Runtime, target: Id) -> Option<String> {
        match self {
            Kind::Ours(handle) => {
                let got = runtime.block_on(handle.get(READER, target, b""));
                text(&got.expect("it ends").item?.value)
            }
            Kind::Theirs(foreign) => {
                let target = target.to_string();
                let answer = foreign.ask(json!({"do": "get", "node": READER, "target": target}));
                answer["text"].as_str().map(str::to_owned)
            }
        }
    }

    /// Stores a text under a key, as the item of this sequence number, if the kind chooses none by itself.
    fn put_signed(
        &mut self,
        runtime: &Runtime,
        seed: &[u8; 32],
        sequence: i64,
        text: &str,
    ) -> Option<()> {
        let stored = match self {
            Kind::Ours(handle) => {
                let value = NewItem::text(text.as_bytes());
                let item = NewItem::signed(seed, SALT.as_bytes(), sequence, value, None);
                let put = runtime.block_on(handle.put(WRITER, item.expect("an item")));
                u64::from(put.expect("it ends").stored())
            }
            Kind::Theirs(foreign) => {
                let order = json!({
                    "do": "put_signed",
                    "node": WRITER,
                    "seed": hex(seed),
                    "key": hex(SecretKey::from_seed(seed).public()),
                    "salt": SALT,
                    "text": text,
                    "sequence": sequence,
                });
                foreign.ask(order)["stored"].as_u64()?
            }
        };
        (stored > 0).then_some(())
    }

    /// The text under a key, and its sequence number.
    fn get_signed(&mut self, runtime: &Runtime, seed: &[u8; 32]) -> Option<(String, i64)> {
        let key = SecretKey::from_seed(seed);
        match self {
            Kind::Ours(handle) => {
                let target = mutable_target(key.public(), SALT.as_bytes());
                let got = runtime.block_on(handle.get(READER, target, SALT.as_bytes()));
                let item = got.expect("it ends").item?;
                Some((text(&item.value)?, item.version?.0))
            }
            Kind::Theirs(foreign) => {
                let key = hex(key.public());
                let order = json!({"do": "get_signed", "node": READER, "key": key, "salt": SALT});
                let answer = foreign.ask(order);
                Some((
                    answer["text"].as_str()?.to_owned(),
                    answer["sequence"].as_i64()?,
                ))
            }
        }
    }

    fn announce(&mut self, runtime: &Runtime, info_hash: Id, port: u16) -> Option<()> {
        match self {
            Kind::Ours(handle) => {
                let port = NonZeroU16::new(port);
                let announced = runtime.block_on(handle.announce(WRITER, info_hash, port));
                (announced.expect("it ends").stored() > 0).then_some(())
            }
            Kind::Theirs(foreign) => {
                let (node, info_hash) = (WRITER, info_hash.to_string());
                let order =
                    json!({"do": "announce", "node": node, "info_hash": info_hash, "port": port});
                foreign.ask(order).get("error").is_none().then_some(())
            }
        }
    }

    fn peers(&mut self, runtime: &Runtime, info_hash: Id) -> Vec<SocketAddr> {
        match self {
            Kind::Ours(handle) => {
                let found = runtime.block_on(handle.get_peers(READER, info_hash));
                found.expect("it ends").peers
            }
            Kind::Theirs(foreign) => {
                let info_hash = info_hash.to_string();
                let order = json!({"do": "peers", "node": READER, "info_hash": info_hash});
                let answer = foreign.ask(order);
                let peers = answer["peers"].as_array().cloned().unwrap_or_default();
                let address = |peer: &Value| peer.as_str().expect("text").parse().expect("one");
                peers.iter().map(address).collect()
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a bencoded string.
fn text(value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?;
    Some(value.split_once(':')?.1.to_owned())
}

/// Nodes of libtorrent's, where they are installed.
fn libtorrent(families: Families) -> Option<Foreign> {
    let home = std::env::var_os("HOLDFAST_LIBTORRENT").map(PathBuf::from);
    if home.is_none() {
        skip(&format!(
            "a network with libtorrent {families}: HOLDFAST_LIBTORRENT does not name it"
        ));
    }
    home.as_deref().map(Foreign::libtorrent)
}

/// Nodes of bittorrent-dht's, where it is installed.
fn bittorrent_dht() -> Option<Foreign> {
    let home = std::env::var_os("HOLDFAST_BITTORRENT_DHT").map(PathBuf::from);
    if home.is_none() {
        skip("a network with bittorrent-dht: HOLDFAST_BITTORRENT_DHT does not name it");
    }
    home.as_deref().map(Foreign::bittorrent_dht)
}

/// Whether this machine has IPv6, at least to talk to itself.
fn has_ipv6(families: Families) -> bool {
    match UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => true,
        Err(error) => {
            skip(&format!(
                "a network {families}: [::1] cannot be bound: {error}"
            ));
            false
        }
    }
}

#[test]
fn what_one_kind_stores_every_kind_finds() {
    let families = Families::V4;
    check(families, [libtorrent(families), bittorrent_dht()]);
}

#[test]
fn what_one_kind_stores_every_kind_finds_in_ipv6() {
    let families = Families::V6;
    if has_ipv6(families) {
        check(families, [libtorrent(families)]);
    }
}

/// Both kinds are asked what they know in the other family too (BEP 32, `want`), and announce themselves in both.
#[test]
fn what_one_kind_stores_every_kind_finds_in_both_families() {
    let families = Families::Both;
    if has_ipv6(families) {
        check(families, [libtorrent(families)]);
    }
}

fn check(families: Families, foreign: impl IntoIterator<Item = Option<Foreign>>) {
    let mut network = Network::new(families);
    for foreign in foreign.into_iter().flatten() {
        network.add(foreign);
    }
    let kinds = network.kinds.len();
    for writer in 0..kinds {
        let name = network.kinds[writer].to_string();
        let value = format!("an item of {name}");
        let put = network.until_of(writer, "an item is stored", |runtime, kind| {
            kind.put(runtime, &value)
        });
        for reader in 0..kinds {
            let what = format!("an item of {name} is found");
            let got = network.until_of(reader, &what, |runtime, kind| kind.get(runtime, put));
            assert_eq!(got, value, "{}", network.kinds[reader]);
        }
    }
    for writer in 0..kinds {
        let name = network.kinds[writer].to_string();
        let seed = [writer as u8 + 1; 32];
        for (sequence, value) in [(1, format!("{name} first")), (2, format!("{name} then"))] {
            network.until_of(writer, "a mutable item is stored", |runtime, kind| {
                kind.put_signed(runtime, &seed, sequence, &value)
            });
            for reader in 0..kinds {
                let what = format!("the mutable item of {name} is found: {value}");
                // Some tell an old one first; in the end there is the newest.
                network.until_of(reader, &what, |runtime, kind| {
                    let (found, number) = kind.get_signed(runtime, &seed)?;
                    // Who chooses numbers by himself may have needed more than one.
                    (found == value && number >= sequence).then_some(())
                });
            }
        }
    }
    for writer in 0..kinds {
        let name = network.kinds[writer].to_string();
        let info_hash = Id::new([writer as u8 + 1; 20]);
        let port = 10_000 + writer as u16;
        network.until_of(writer, "a peer is announced", |runtime, kind| {
            kind.announce(runtime, info_hash, port)
        });
        let announced = families.addresses(writer as u8 + 1, WRITER as u8 + 1);
        let announced = announced.into_iter().map(|ip| SocketAddr::new(ip, port));
        let announced: Vec<SocketAddr> = announced.collect();
        for reader in 0..kinds {
            let what = format!("the peer of {name} is found: {announced:?}");
            network.until_of(reader, &what, |runtime, kind| {
                let found = kind.peers(runtime, info_hash);
                let is_found = |peer| found.contains(peer);
                announced.iter().all(is_found).then_some(())
            });
        }
    }
    // Theirs stand in our tables, and what they store in our nodes: they were no guests.
    let status = network.runtime.block_on(network.ours().status());
    let status = status.expect("it runs");
    for family in 0..families.count() {
        let stored = |count: fn(&FamilyStatus) -> usize| -> usize {
            let all = status.nodes.iter().map(|node| &node.families[family]);
            all.map(count).sum()
        };
        assert!(stored(|f| f.items) > 0, "{status:?}");
        assert!(stored(|f| f.torrents) > 0, "{status:?}");
    }
    let target = Id::MAX;
    let find = network.ours().run(0, Request::FindNode { target });
    let found = network.runtime.block_on(find).expect("it ends");
    assert_eq!(found.reports.len(), families.count());
    for report in &found.reports {
        assert_eq!(report.closest.len(), 8, "{report:?}");
    }
}

/// Says that a test did not run, and where `cargo xtask test` reads it.
fn skip(what: &str) {
    let line = format!("SKIPPED: {what}");
    eprintln!("{line}");
    let Some(file) = std::env::var_os("HOLDFAST_SKIPS") else {
        return;
    };
    let opened = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file);
    let mut file = opened.expect("the file of skips can be written");
    writeln!(file, "{line}").expect("the file of skips can be written");
}
