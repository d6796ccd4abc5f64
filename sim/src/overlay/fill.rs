//! Tables filled by somebody who knows everybody: where an overlay begins that need not grow first.

use super::{Adversary, Census, Overlay, Watch, peer::Who};
use crate::draw::{Domain, Draws};
use holdfast_kademlia::{Id, krpc::Contact};

/// How long ago contacts have answered at most: fifteen minutes, as long as they are good for.
pub(super) const SPREAD_NS: u64 = 15 * 60 * 1_000_000_000;

impl<A: Adversary, W: Watch> Overlay<A, W> {
    /// Fills the tables of all honest nodes: of each bucket's range as many random nodes as it holds, whoever they are.
    /// Each has answered at some moment of the last quarter of an hour.
    pub fn fill_tables(&mut self) {
        let everybody = self.peers.iter().enumerate();
        let everybody = Census::of(everybody.map(|(node, peer)| (peer.id, node as u32)));
        for node in 0..self.peers.len() as u32 {
            self.fill_table(node, &everybody);
        }
    }

    fn fill_table(&mut self, node: u32, everybody: &Census) {
        let (seed, now, addresses) = (self.setup.seed, self.now, self.addresses);
        let peer = &mut self.peers[node as usize];
        let Who::Honest(core) = &mut peer.who else {
            return;
        };
        let mut draws = Draws::new(seed, Domain::Overlay, u64::from(node));
        let config = core.config().clone();
        let mut range = everybody.entries();
        let mut chosen: Vec<usize> = Vec::new();
        for depth in 0..Id::BITS {
            // Only the node itself is left.
            if range.len() < 2 {
                break;
            }
            let middle = range.partition_point(|(id, _)| !id.bit(depth));
            let (zeros, ones) = range.split_at(middle);
            let (near, far) = match peer.id.bit(depth) {
                false => (zeros, ones),
                true => (ones, zeros),
            };
            let room = config.room(depth as usize);
            chosen.clear();
            match far.len() <= room {
                true => chosen.extend(0..far.len()),
                false => {
                    while chosen.len() < room {
                        let place = draws.range(0, far.len() as u64) as usize;
                        if !chosen.contains(&place) {
                            chosen.push(place);
                        }
                    }
                }
            }
            for place in &chosen {
                let (id, other) = far[*place];
                let address = addresses.address(other);
                self.watch.adopted(node, other, id);
                core.adopt(now - draws.range(0, SPREAD_NS), Contact { id, address });
            }
            range = near;
        }
        self.arm(node);
    }
}
