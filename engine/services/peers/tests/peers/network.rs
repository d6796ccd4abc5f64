//! Networks to test in, and what holds of every one.

use holdfast_host::{Host, tokio_host};
use holdfast_kademlia::{Id, limiter::RateLimits};
use holdfast_peers::{
    Crawl, CrawlLimits, Dht, DhtError, DhtHandle, Family, LocalNode, Settings, StartError,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeSet,
    future::Future,
    io::Write,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long anything is waited for: far longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime, and a host whose files go away.
pub struct World {
    pub runtime: Runtime,
    pub host: Host,
    _folder: TempDir,
}

impl World {
    pub fn new() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::new().expect("a runtime");
        let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
        World {
            runtime,
            host,
            _folder: folder,
        }
    }

    pub fn start(&self, settings: Settings) -> DhtHandle {
        let started = self.runtime.block_on(Dht::start(&self.host, settings));
        started.expect("it starts")
    }

    pub fn within<T>(&self, future: impl Future<Output = T>) -> T {
        let timed = self.host.timeout(PATIENCE, future);
        self.runtime.block_on(timed).expect("in time")
    }

    /// Waits until something is the case.
    pub fn wait_for<F: Future<Output = bool>>(&self, what: &str, mut check: impl FnMut() -> F) {
        let end = self.host.now().saturating_add(PATIENCE);
        while !self.within(check()) {
            assert!(self.host.now() < end, "in vain: {what}");
            self.runtime
                .block_on(self.host.sleep(Duration::from_millis(20)));
        }
    }

    /// A network of `count` nodes in IPv4, each at an address of its own, all joined through the first.
    pub fn network(&self, count: usize, is_direct: bool) -> DhtHandle {
        let nodes = (0..count).map(|_| v4()).collect();
        let handle = self.start(Settings {
            nodes,
            is_direct,
            ..settings()
        });
        let first = handle.addresses(0)[0].expect("in IPv4");
        handle.join(vec![first]).expect("it runs");
        self.joined(&handle);
        handle
    }

    /// Waits until every node knows enough of the others.
    pub fn joined(&self, handle: &DhtHandle) {
        let enough = handle.nodes().min(8) - 1;
        self.wait_for("all nodes know others", || async {
            let status = handle.status().await.expect("it runs");
            let mut nodes = status.nodes.iter();
            nodes.all(|node| {
                let mut families = node.families.iter();
                families.all(|family| family.table.good >= enough && family.lookups == 0)
            })
        });
    }
}

/// Settings for many nodes at one address.
pub fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.config.rates = RateLimits::NONE;
    settings
}

/// A node in IPv4, on loopback.
pub fn v4() -> LocalNode {
    LocalNode {
        v4: Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)),
        ..LocalNode::default()
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

/// The ids that are closest to `target`, closest first.
fn closest(handle: &DhtHandle, target: Id, count: usize) -> Vec<Id> {
    let mut ids: Vec<Id> = (0..handle.nodes()).map(|node| handle.id(node)).collect();
    ids.sort_by_key(|id| id.distance(target));
    ids.truncate(count);
    ids
}

fn finds_the_closest(world: &World, handle: &DhtHandle) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for node in 0..handle.nodes() {
        let target = Id::random(&mut rng);
        let outcome = world.within(handle.lookup(node, target)).expect("it ends");
        let mut expected = closest(handle, target, 2);
        expected.retain(|id| *id != handle.id(node));
        let report = &outcome.reports[0];
        assert_eq!(outcome.target, target);
        assert_eq!(report.family, Family::V4);
        assert_eq!(report.closest[0].id, expected[0]);
        assert_eq!(report.closest.len(), 8);
        assert!(report.replies as usize <= report.hops.len());
        // Every hop was named by one that had answered by then.
        for hop in &report.hops {
            if let Some(by) = hop.named_by {
                let answered = report.hops[by].answered_after.expect("it named somebody");
                assert!(answered <= hop.asked_after);
            }
        }
    }
}

#[test]
fn nodes_find_each_other_and_the_closest() {
    let world = World::new();
    let handle = world.network(40, false);
    finds_the_closest(&world, &handle);
    let status = world.within(handle.status()).expect("it runs");
    assert_eq!((status.lookups, status.traffic.lookups), (0, 40));
    assert_eq!(status.traffic.direct, 0);
    assert_eq!(status.traffic.receive_errors, 0);
    assert!(status.traffic.received > 40);
}

#[test]
fn local_nodes_may_do_without_the_network() {
    let world = World::new();
    let handle = world.network(40, true);
    finds_the_closest(&world, &handle);
    let status = world.within(handle.status()).expect("it runs");
    assert!(status.traffic.direct > 0);
    assert_eq!((status.traffic.sent, status.traffic.received), (0, 0));
}

#[test]
fn a_crawl_finds_every_node() {
    let world = World::new();
    let handle = world.network(60, false);
    let all: BTreeSet<Id> = (1..60).map(|node| handle.id(node)).collect();
    // Of sixty that join at once a few are known to all their neighbours only when they have joined a second time.
    world.wait_for("all are found", || async {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut crawl = Crawl::new(8, CrawlLimits::default());
        while let Some(region) = crawl.next(&mut rng) {
            let outcome = handle.lookup(0, region.0).await.expect("it ends");
            for report in &outcome.reports {
                let hops = report.hops.iter();
                let answered = hops.filter(|hop| hop.answered_after.is_some());
                crawl.found(region, &report.closest, answered.map(|hop| hop.node));
            }
        }
        let found: BTreeSet<Id> = crawl.nodes().keys().copied().collect();
        all.is_subset(&found)
    });
}

#[test]
fn a_node_in_both_families_has_one_id_and_asks_in_both() {
    let world = World::new();
    let v6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0);
    let node = || LocalNode {
        v6: Some(v6),
        ..v4()
    };
    let nodes = (0..20).map(|_| node()).collect();
    let settings = Settings {
        nodes,
        ..settings()
    };
    let started = world.runtime.block_on(Dht::start(&world.host, settings));
    let handle = match started {
        Ok(handle) => handle,
        Err(StartError::Bind { address, error }) if address.is_ipv6() => {
            skip(&format!("a node in both families: no IPv6 here: {error}"));
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let first = handle.addresses(0);
    let [Some(v4), Some(v6)] = first else {
        panic!("both: {first:?}");
    };
    handle.join(vec![v4, v6]).expect("it runs");
    world.joined(&handle);
    let info_hash = Id::new([7; 20]);
    let announced = world.within(handle.announce(3, info_hash, None));
    let announced = announced.expect("it ends");
    assert_eq!(announced.reports.len(), 2);
    assert!(announced.reports.iter().all(|report| report.stored > 0));
    let found = world.within(handle.get_peers(11, info_hash)).expect("ends");
    let expected: Vec<SocketAddr> = handle.addresses(3).into_iter().flatten().collect();
    assert_eq!(found.peers, expected, "its own ports, in both families");
}

#[test]
fn what_cannot_be_is_refused() {
    let world = World::new();
    let handle = world.network(2, false);
    let target = Id::ZERO;
    let outcome = world.within(handle.lookup(2, target));
    assert_eq!(outcome, Err(DhtError::NoSuchNode(2)));
    let contacts = world.within(handle.contacts(9));
    assert_eq!(contacts, Err(DhtError::NoSuchNode(9)));
    let find = holdfast_kademlia::Request::FindNode { target };
    let kept = world.within(handle.keep(0, find));
    assert_eq!(kept, Err(DhtError::NotKept));

    // An address that is taken is said, and what was bound before is free again.
    let taken = handle.addresses(0)[0].expect("in IPv4");
    let SocketAddr::V4(taken_v4) = taken else {
        panic!("in IPv4");
    };
    let node = LocalNode {
        v4: Some(taken_v4),
        ..LocalNode::default()
    };
    let more = Settings {
        nodes: vec![node],
        ..settings()
    };
    let started = world
        .runtime
        .block_on(Dht::start(&world.host, more.clone()));
    match started {
        Err(StartError::Bind { address, .. }) => assert_eq!(address, taken),
        Ok(_) => panic!("two nodes at {taken}"),
        Err(error) => panic!("{error}"),
    }
    world.within(handle.shutdown());
    let stopped = world.within(handle.lookup(0, target));
    assert_eq!(stopped, Err(DhtError::Stopped));
    let again = world.start(more);
    assert_eq!(again.addresses(0)[0], Some(taken));
}

#[test]
fn a_lookup_among_the_dead_ends_and_one_that_nobody_waits_for_is_given_up() {
    let world = World::new();
    let silent = world.host.network.bind((Ipv4Addr::LOCALHOST, 0).into());
    let silent = world.runtime.block_on(silent).expect("a socket");
    let mut settings = Settings {
        nodes: vec![v4()],
        bootstrap: vec![silent.local_addr().to_string()],
        ..settings()
    };
    settings.patience = Duration::from_secs(1);
    let handle = world.start(settings);
    let outcome = world.within(handle.lookup(0, Id::MAX)).expect("it ends");
    assert_eq!(outcome.reports[0].closest, []);

    // One that is asked for and dropped.
    let network = world.network(12, false);
    let find = holdfast_kademlia::Request::FindNode { target: Id::MAX };
    drop(network.begin(0, find));
    world.wait_for("nothing is under way", || async {
        network.status().await.expect("it runs").lookups == 0
    });
}
