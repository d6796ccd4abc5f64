//! A local node: a core and a socket in each family.

use crate::{Family, FamilyStatus, NodeStatus, ready::Ticket};
use holdfast_host::Datagrams;
use holdfast_kademlia::{
    Id, LookupId, Nanos, Node, Outbox, SAVED_LIMIT_BYTES, Saved, Sibling,
    krpc::{Contact, Endpoint},
};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
};

/// Most contacts of one family that are saved: twice as many of the longer form fit into a file.
const SAVED_CONTACTS: usize = SAVED_LIMIT_BYTES / 128;

/// A node in one family.
pub(crate) struct Half<A> {
    pub node: Node<A>,
    pub socket: Datagrams,
    /// Where it is bound.
    pub address: A,
    pub ticket: Ticket,
    /// The lookups that somebody waits for, and the numbers under which he does.
    pub lookups: BTreeMap<LookupId, u64>,
}

/// A node in one family or both.
pub(crate) struct Local {
    pub id: Id,
    pub v4: Option<Half<SocketAddrV4>>,
    pub v6: Option<Half<SocketAddrV6>>,
    /// When it stands in the driver's list of those to wake.
    pub wakes_at: Nanos,
    /// That is to be looked at again.
    pub is_touched: bool,
}

/// What the driver has once for each family.
#[derive(Default)]
pub(crate) struct Outboxes {
    v4: Outbox<SocketAddrV4>,
    v6: Outbox<SocketAddrV6>,
}

/// A family, as types have it.
pub(crate) trait Side: Endpoint {
    const FAMILY: Family;

    /// The address, if it is of this family.
    fn of(address: SocketAddr) -> Option<Self>;
    fn half(local: &mut Local) -> (Option<&mut Half<Self>>, Sibling<'_>);
    fn outbox(outboxes: &mut Outboxes) -> &mut Outbox<Self>;
}

impl Side for SocketAddrV4 {
    const FAMILY: Family = Family::V4;

    fn of(address: SocketAddr) -> Option<Self> {
        match address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        }
    }

    fn half(local: &mut Local) -> (Option<&mut Half<Self>>, Sibling<'_>) {
        let sibling = local.v6.as_ref();
        let sibling = sibling.map_or(Sibling::None, |half| Sibling::V6(&half.node));
        (local.v4.as_mut(), sibling)
    }

    fn outbox(outboxes: &mut Outboxes) -> &mut Outbox<Self> {
        &mut outboxes.v4
    }
}

impl Side for SocketAddrV6 {
    const FAMILY: Family = Family::V6;

    fn of(address: SocketAddr) -> Option<Self> {
        match address {
            SocketAddr::V4(_) => None,
            SocketAddr::V6(mut address) => {
                // It is no part of who somebody is.
                address.set_flowinfo(0);
                Some(address)
            }
        }
    }

    fn half(local: &mut Local) -> (Option<&mut Half<Self>>, Sibling<'_>) {
        let sibling = local.v4.as_ref();
        let sibling = sibling.map_or(Sibling::None, |half| Sibling::V4(&half.node));
        (local.v6.as_mut(), sibling)
    }

    fn outbox(outboxes: &mut Outboxes) -> &mut Outbox<Self> {
        &mut outboxes.v6
    }
}

impl<A: Side> Half<A> {
    fn status(&self, now: Nanos) -> FamilyStatus {
        FamilyStatus {
            family: A::FAMILY,
            address: self.address.into(),
            table: self.node.health(now),
            lookups: self.node.lookups(),
            queries: self.node.queries(),
            items: self.node.items().len(),
            torrents: self.node.peers().torrent_count(),
            bytes: self.node.bytes(),
        }
    }

    fn contacts(&self) -> Vec<Contact<A>> {
        let contacts = self.node.table().contacts();
        contacts.take(SAVED_CONTACTS).collect()
    }
}

impl Local {
    /// When it wants to be woken.
    pub fn wake_at(&self) -> Nanos {
        let v4 = self
            .v4
            .as_ref()
            .map_or(Nanos::MAX, |half| half.node.wake_at());
        let v6 = self
            .v6
            .as_ref()
            .map_or(Nanos::MAX, |half| half.node.wake_at());
        v4.min(v6)
    }

    /// Whether somebody has answered it lately: that others can be reached from its address, and know it.
    pub fn is_answered(&self, now: Nanos) -> bool {
        fn good<A: Side>(half: &Option<Half<A>>, now: Nanos) -> bool {
            half.as_ref()
                .is_some_and(|half| half.node.health(now).good > 0)
        }
        good(&self.v4, now) || good(&self.v6, now)
    }

    pub fn status(&self, now: Nanos) -> NodeStatus {
        let v4 = self.v4.as_ref().map(|half| half.status(now));
        let v6 = self.v6.as_ref().map(|half| half.status(now));
        NodeStatus {
            id: self.id,
            families: v4.into_iter().chain(v6).collect(),
        }
    }

    /// What it knows, to begin with the next time.
    pub fn saved(&self) -> Saved {
        Saved {
            id: self.id,
            v4: self.v4.as_ref().map(Half::contacts).unwrap_or_default(),
            v6: self.v6.as_ref().map(Half::contacts).unwrap_or_default(),
        }
    }
}
