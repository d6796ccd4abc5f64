//! One network of three kinds of nodes: ours, libtorrent's and bittorrent-dht's. What one kind stores, every kind finds.
//!
//! All are on addresses of loopback, each on one of its own, and know of nobody else.
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
use holdfast_peers::{Dht, DhtHandle, LocalNode, NewItem, Settings};
use serde_json::{Value, json};
use std::{
    fmt,
    io::Write,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
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

/// Who is asked.
enum Kind {
    Ours(DhtHandle),
    Theirs(Foreign),
}

/// A network, and a way to wait.
struct Network {
    runtime: Runtime,
    host: Host,
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
    fn new() -> Network {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::new().expect("a runtime");
        let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
        let mut settings = Settings {
            nodes: (1..=OURS as u8).map(local).collect(),
            ..Settings::default()
        };
        settings.config.rates = RateLimits::NONE;
        let ours = runtime.block_on(Dht::start(&host, settings));
        let ours = ours.expect("loopback has ports");
        ours.join(vec![ours.addresses(0)[0].expect("in IPv4")])
            .expect("it runs");
        Network {
            runtime,
            host,
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

    /// Adds nodes of another kind, at addresses of this network, and waits until all know others.
    fn add(&mut self, mut foreign: Foreign, network: u8) {
        let address = |n| format!("127.0.{network}.{n}:0");
        let addresses: Vec<String> = (1..=THEIRS).map(address).collect();
        foreign.ask(json!({"do": "start", "addresses": addresses}));
        for node in 0..3 {
            let seed = self.ours().addresses(node)[0].expect("in IPv4");
            let (host, port) = (seed.ip().to_string(), seed.port());
            foreign.ask(json!({"do": "join", "host": host, "port": port}));
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

fn local(n: u8) -> LocalNode {
    LocalNode {
        v4: Some(SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, n), 0)),
        ..LocalNode::default()
    }
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

#[test]
fn what_one_kind_stores_every_kind_finds() {
    let python = std::env::var_os("HOLDFAST_LIBTORRENT").map(PathBuf::from);
    let node = std::env::var_os("HOLDFAST_BITTORRENT_DHT").map(PathBuf::from);
    let mut foreign = Vec::new();
    match python {
        Some(home) => foreign.push(Foreign::libtorrent(&home)),
        None => skip("a network with libtorrent: HOLDFAST_LIBTORRENT does not name it"),
    }
    match node {
        Some(home) => foreign.push(Foreign::bittorrent_dht(&home)),
        None => skip("a network with bittorrent-dht: HOLDFAST_BITTORRENT_DHT does not name it"),
    }
    if foreign.is_empty() {
        return;
    }
    let mut network = Network::new();
    for (place, foreign) in (2..).zip(foreign) {
        network.add(foreign, place);
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
        let peer = SocketAddr::from(([127, 0, writer as u8 + 1, WRITER as u8 + 1], port));
        for reader in 0..kinds {
            let what = format!("the peer of {name} is found: {peer}");
            network.until_of(reader, &what, |runtime, kind| {
                kind.peers(runtime, info_hash).contains(&peer).then_some(())
            });
        }
    }
    // Theirs stand in our tables, and what they store in our nodes: they were no guests.
    let status = network.runtime.block_on(network.ours().status());
    let status = status.expect("it runs");
    let items: usize = status.nodes.iter().map(|node| node.families[0].items).sum();
    assert!(items > 0, "{status:?}");
    let target = Id::MAX;
    let find = network.ours().run(0, Request::FindNode { target });
    let found = network.runtime.block_on(find).expect("it ends");
    assert_eq!(found.reports[0].closest.len(), 8);
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
