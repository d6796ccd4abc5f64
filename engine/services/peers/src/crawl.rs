//! Walks over a whole DHT: every region of the id space is asked for, and divided as long as it may hold more nodes than one
//! answer names.

use crate::NodeContact;
use holdfast_kademlia::Id;
use rand::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// When a crawl ends before it has seen everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrawlLimits {
    /// Lookups at most.
    pub lookups: usize,
    /// Nodes at most.
    pub nodes: usize,
}

impl Default for CrawlLimits {
    fn default() -> Self {
        CrawlLimits {
            lookups: 10_000,
            nodes: 100_000,
        }
    }
}

/// A crawl: says which ids to look up, and is told what was found.
///
/// A region is all ids with the same first bits. A lookup of an id in it finds the k nodes closest to that id; if all of
/// them are in the region, there may be more there than were found, and both of its halves are asked for next. A network of
/// n nodes takes some 4n/k lookups.
#[derive(Clone, Debug)]
pub struct Crawl {
    limits: CrawlLimits,
    k: usize,
    /// Regions that are still to be asked for: an id in each, and how many of its first bits count.
    regions: VecDeque<(Id, u32)>,
    lookups: usize,
    nodes: BTreeMap<Id, SocketAddr>,
}

impl Crawl {
    /// One of a network whose nodes answer with `k` contacts.
    pub fn new(k: usize, limits: CrawlLimits) -> Crawl {
        Crawl {
            limits,
            k,
            regions: VecDeque::from([(Id::ZERO, 0)]),
            lookups: 0,
            nodes: BTreeMap::new(),
        }
    }

    /// What to look up next, as a region to give back with what was found there; `None` when the crawl is over.
    pub fn next(&mut self, rng: &mut impl Rng) -> Option<(Id, u32)> {
        if self.is_cut_short() {
            return None;
        }
        let (prefix, bits) = self.regions.pop_front()?;
        self.lookups += 1;
        Some((prefix.random_with_prefix(bits, rng), bits))
    }

    /// The nodes that a lookup of [`next`](Crawl::next)'s id found closest, and those that it met on its way.
    pub fn found(
        &mut self,
        (target, bits): (Id, u32),
        closest: &[NodeContact],
        met: impl IntoIterator<Item = NodeContact>,
    ) {
        for node in closest.iter().copied().chain(met) {
            if self.nodes.len() < self.limits.nodes {
                self.nodes.insert(node.id, node.address);
            }
        }
        let inside = closest
            .iter()
            .filter(|node| node.id.shared_bits(target) >= bits);
        if inside.count() >= self.k && bits + 1 < Id::BITS {
            self.regions.push_back((target, bits + 1));
            self.regions
                .push_back((target.with_flipped(bits), bits + 1));
        }
    }

    /// The nodes that answered.
    pub fn nodes(&self) -> &BTreeMap<Id, SocketAddr> {
        &self.nodes
    }

    /// Lookups that were begun.
    pub fn lookups(&self) -> usize {
        self.lookups
    }

    /// Regions that are known to be left.
    pub fn left(&self) -> usize {
        self.regions.len()
    }

    /// Whether a limit has ended it.
    pub fn is_cut_short(&self) -> bool {
        let is_spent = self.lookups >= self.limits.lookups || self.nodes.len() >= self.limits.nodes;
        is_spent && !self.regions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    fn crawl(nodes: &BTreeMap<Id, SocketAddr>, limits: CrawlLimits) -> Crawl {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut crawl = Crawl::new(8, limits);
        while let Some((target, bits)) = crawl.next(&mut rng) {
            let mut closest: Vec<NodeContact> = nodes
                .iter()
                .map(|(id, address)| NodeContact {
                    id: *id,
                    address: *address,
                })
                .collect();
            closest.sort_by_key(|node| node.id.distance(target));
            closest.truncate(8);
            crawl.found((target, bits), &closest, []);
        }
        crawl
    }

    fn network(count: u16) -> BTreeMap<Id, SocketAddr> {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        (1..=count)
            .map(|port| (Id::random(&mut rng), address(port)))
            .collect()
    }

    #[test]
    fn every_node_is_found() {
        for count in [1, 7, 8, 9, 500] {
            let nodes = network(count);
            let crawl = crawl(&nodes, CrawlLimits::default());
            assert_eq!(crawl.nodes(), &nodes);
            assert!(!crawl.is_cut_short());
            assert!(crawl.lookups() <= usize::from(count) + 2, "{count} nodes");
        }
    }

    #[test]
    fn a_limit_ends_it() {
        let nodes = network(500);
        let limits = |lookups, nodes| CrawlLimits { lookups, nodes };
        let few = crawl(&nodes, limits(10, 1_000));
        assert!(few.is_cut_short() && few.lookups() == 10 && few.left() > 0);
        let small = crawl(&nodes, limits(1_000, 100));
        assert!(small.is_cut_short() && small.nodes().len() == 100);
    }
}
