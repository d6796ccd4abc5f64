//! How a node stays known to its neighbours, and finds again whom it has lost.

use crate::{
    Node,
    config::{MINUTE, Nanos},
    krpc::{Contact, Endpoint},
    lookup::Request,
    node::Why,
    output::Outbox,
};
use rand::RngCore;

/// How often a node looks itself up, up to a tenth earlier. Whoever came while its neighbours could not hear it becomes known
/// to them (libtorrent: every ten minutes).
pub(crate) const OWN_LOOKUP: Nanos = 15 * MINUTE;
/// How many of those that are taken for dead are asked then whether they live: after a partition of the network nobody
/// else would find its other side again.
const REVIVALS: usize = 4;

impl<A: Endpoint> Node<A> {
    /// Becomes known to its neighbours, and asks some of those that are taken for dead whether they are back.
    pub(crate) fn look_around(&mut self, now: Nanos, rng: &mut dyn RngCore, out: &mut Outbox<A>) {
        // Those that were started together do not ask together for ever.
        let early = u64::from(rng.next_u32()) % (OWN_LOOKUP / 10);
        self.own_at = now + OWN_LOOKUP - early;
        let bad: Vec<Contact<A>> = self.table.bad().collect();
        let first = rng.next_u32() as usize;
        for place in 0..bad.len().min(REVIVALS) {
            let contact = bad[first.wrapping_add(place) % bad.len()];
            if !self.rpcs.asks(contact.address) {
                self.ping(now, contact, rng, out);
            }
        }
        if !self.table.is_empty() {
            let target = self.id;
            let request = Request::FindNode { target };
            self.begin(now, Why::Refresh, target, request, rng, out);
        }
    }
}
