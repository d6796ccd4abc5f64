//! Lookups that somebody waits for, and what they find.

use crate::{
    KeptKind,
    handle::DhtError,
    kept::{Keep, Kept},
    local::Side,
};
use holdfast_kademlia::{Event, Finished, Id, LookupId, Nanos, Request, Step, krpc};
use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// One of the two DHTs, which know nothing of each other (BEP 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Of IPv4.
    V4,
    /// Of IPv6.
    V6,
}

impl Family {
    /// That of an address.
    pub fn of(ip: IpAddr) -> Family {
        match ip.is_ipv4() {
            true => Family::V4,
            false => Family::V6,
        }
    }
}

/// A node of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeContact {
    /// Its id.
    pub id: Id,
    /// Where it is.
    pub address: SocketAddr,
}

impl<A: krpc::Endpoint> From<krpc::Contact<A>> for NodeContact {
    fn from(contact: krpc::Contact<A>) -> Self {
        NodeContact {
            id: contact.id,
            address: contact.address.into(),
        }
    }
}

/// One query of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Who was asked.
    pub node: NodeContact,
    /// Which of the hops before named it; `None`: it stood in the own table.
    pub named_by: Option<usize>,
    /// On which of the lookup's disjoint paths.
    pub path: u8,
    /// When, after the lookup's begin.
    pub asked_after: Duration,
    /// When the answer came, after the lookup's begin; `None`: it did not.
    pub answered_after: Option<Duration>,
}

/// How a lookup went in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which local node it was.
    pub node: usize,
    /// In which.
    pub family: Family,
    /// The closest nodes that answered, closest first, at most k.
    pub closest: Vec<NodeContact>,
    /// Who was asked, in this order.
    pub hops: Vec<Hop>,
    /// Answers that came.
    pub replies: u32,
    /// How long it took, what was stored included.
    pub took: Duration,
    /// How long it took to find the closest nodes.
    pub found_after: Duration,
    /// Nodes on the way to the closest one.
    pub depth: u32,
    /// The sum of the round trips on that way.
    pub way: Duration,
    /// Nodes that say they have stored what they were to.
    pub stored: u32,
    /// The numbers of the errors of those that said no, and how many gave each (BEP 5, BEP 44); 0: no answer.
    pub refusals: Vec<(i64, u32)>,
    /// The lookup's budget of queries was spent before its end.
    pub is_cut_short: bool,
}

/// An item that was found (BEP 44); hash or signature were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundItem {
    /// The value, bencoded.
    pub value: Vec<u8>,
    /// Of a mutable one: its sequence number and signature.
    pub version: Option<(i64, [u8; krpc::SIGNATURE_LEN])>,
}

/// Ids of torrents that a node knows of (BEP 51).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSamples {
    /// Who.
    pub from: NodeContact,
    /// Some of them.
    pub ids: Vec<Id>,
    /// How many it has in all, as it says.
    pub total: u64,
    /// How long it gives the same ones.
    pub interval: Duration,
}

/// What a lookup tells on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Peers that were not told before.
    Peers(Vec<SocketAddr>),
    /// An item, or one that is newer than what was told before.
    Item(FoundItem),
    /// Ids of torrents.
    Samples(FoundSamples),
}

/// What a lookup has found, in both families together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was looked up: what was asked for, or what something was stored under.
    pub target: Id,
    /// Peers, sorted.
    pub peers: Vec<SocketAddr>,
    /// The item, the newest of a mutable one.
    pub item: Option<FoundItem>,
    /// Ids of torrents, node by node.
    pub samples: Vec<FoundSamples>,
    /// How it went, in each family that the node is in.
    pub reports: Vec<Report>,
}

impl Outcome {
    /// Nodes that say they have stored what they were to.
    pub fn stored(&self) -> u32 {
        self.reports.iter().map(|report| report.stored).sum()
    }

    /// How many nodes gave this error.
    pub fn refused_with(&self, number: i64) -> u32 {
        refused_with(&self.reports, number)
    }
}

/// How many nodes gave an error in these lookups.
pub(crate) fn refused_with(reports: &[Report], number: i64) -> u32 {
    let all = reports.iter().flat_map(|report| &report.refusals);
    let same = all.filter(|(known, _)| *known == number);
    same.map(|(_, count)| count).sum()
}

/// A lookup under way.
pub(crate) struct Pending {
    pub outcome: Outcome,
    /// By whom, and by which names it goes there.
    pub node: u32,
    pub under_way: Vec<(Family, LookupId)>,
    pub deadline: Nanos,
    /// `None`: nobody waits for it, it renews what is kept.
    pub reply: Option<oneshot::Sender<Result<Outcome, DhtError>>>,
    pub stream: Option<mpsc::Sender<Found>>,
    pub keep: Option<Keep>,
    /// What other nodes are to do after this one.
    pub rounds: Option<Box<Rounds>>,
}

/// The same through one node after another.
pub(crate) struct Rounds {
    pub request: Request,
    /// Each keeps it.
    pub is_kept: bool,
    /// Whose turn it still is.
    pub left: Range<u32>,
    /// Where the reports of this turn begin.
    pub begun: usize,
    /// Whom the one before has found.
    pub named: Vec<NodeContact>,
}

impl Pending {
    /// The reports of the node whose turn it is.
    pub fn reports(&self) -> &[Report] {
        let begun = self.rounds.as_ref().map_or(0, |rounds| rounds.begun);
        &self.outcome.reports[begun..]
    }

    /// Whether another node is to do the same.
    pub fn has_more(&self) -> bool {
        let mut rounds = self.rounds.iter();
        rounds.any(|rounds| !rounds.left.is_empty())
    }

    /// No other node does the same any more, if it was to keep this.
    pub fn forget(&mut self, kind: KeptKind, target: Id) {
        if let Some(rounds) = &mut self.rounds
            && rounds.is_kept
            && Kept::kind(&rounds.request) == Some(kind)
            && self.outcome.target == target
        {
            rounds.left = 0..0;
        }
    }

    /// The turn of this node is over: what it has found is where the next one begins.
    pub fn end_turn(&mut self) {
        let named = self.reports().iter().flat_map(|report| &report.closest);
        let named: Vec<NodeContact> = named.copied().collect();
        let begun = self.outcome.reports.len();
        if let Some(rounds) = &mut self.rounds {
            (rounds.named, rounds.begun) = (named, begun);
        }
    }

    /// Whom the node before has found in a family.
    pub fn named<A: Side>(&self) -> Vec<krpc::Contact<A>> {
        let named = self.rounds.iter().flat_map(|rounds| &rounds.named);
        let of_family = |node: &NodeContact| {
            let address = A::of(node.address)?;
            Some(krpc::Contact {
                id: node.id,
                address,
            })
        };
        named.filter_map(of_family).collect()
    }

    /// Tells who waits for it that there will be nothing.
    pub fn refuse(self, error: DhtError) {
        if let Some(reply) = self.reply {
            let _ = reply.send(Err(error));
        }
    }

    /// Whether somebody waited, and no longer does; what each of several nodes is to keep goes on without him.
    pub fn is_given_up(&self) -> bool {
        let is_kept = self.rounds.as_ref().is_some_and(|rounds| rounds.is_kept);
        !is_kept && self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Takes in peers, and tells those that are new.
    pub fn peers(&mut self, peers: impl IntoIterator<Item = SocketAddr>) {
        let mut new = Vec::new();
        for peer in peers {
            if let Err(place) = self.outcome.peers.binary_search(&peer) {
                self.outcome.peers.insert(place, peer);
                new.push(peer);
            }
        }
        if !new.is_empty() {
            self.tell(|| Found::Peers(new));
        }
    }

    /// Takes in an item, unless one that is as new is known.
    pub fn item(&mut self, item: FoundItem) {
        let sequence = |item: &FoundItem| item.version.map(|(sequence, _)| sequence);
        let known = self.outcome.item.as_ref();
        if known.is_some_and(|known| sequence(known) >= sequence(&item)) {
            return;
        }
        self.tell(|| Found::Item(item.clone()));
        self.outcome.item = Some(item);
    }

    /// A reader that is too slow for its queue misses some of it, and finds everything in the outcome.
    fn tell(&self, found: impl FnOnce() -> Found) {
        if let Some(stream) = &self.stream {
            let _ = stream.try_send(found());
        }
    }

    /// Takes in what a lookup says; whether that one has ended.
    pub fn take<A: krpc::Endpoint>(&mut self, family: Family, event: Event<A>) -> bool {
        match event {
            Event::Peers { peers, .. } => self.peers(peers),
            Event::Item { value, version, .. } => self.item(FoundItem { value, version }),
            Event::Samples {
                from,
                ids,
                total,
                interval,
                ..
            } => {
                let samples = FoundSamples {
                    from: from.into(),
                    ids,
                    total,
                    interval: Duration::from_secs(interval.into()),
                };
                self.tell(|| Found::Samples(samples.clone()));
                self.outcome.samples.push(samples);
            }
            Event::Finished(finished) => {
                let name = (family, finished.lookup);
                self.under_way.retain(|known| *known != name);
                let node = self.node as usize;
                self.outcome.reports.push(report(node, family, *finished));
                return true;
            }
            Event::SeenAt(_) => {}
        }
        false
    }
}

fn report<A: krpc::Endpoint>(node: usize, family: Family, finished: Finished<A>) -> Report {
    let duration = Duration::from_nanos;
    let hop = |step: &Step<A>| Hop {
        node: step.contact.into(),
        named_by: step.named_by.map(usize::from),
        path: step.path,
        asked_after: duration(step.asked_after),
        answered_after: step.answered_after.map(duration),
    };
    Report {
        node,
        family,
        closest: finished.closest.into_iter().map(Into::into).collect(),
        hops: finished.steps.iter().map(hop).collect(),
        replies: finished.replies,
        took: duration(finished.took),
        found_after: duration(finished.found_after),
        depth: finished.hops,
        way: duration(finished.path),
        stored: finished.stored,
        refusals: finished.refusals,
        is_cut_short: finished.is_cut_short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_item_stays_and_is_told() {
        let (stream, mut told) = mpsc::channel(8);
        let mut pending = Pending {
            outcome: Outcome::default(),
            node: 0,
            under_way: Vec::new(),
            deadline: 0,
            reply: None,
            stream: Some(stream),
            keep: None,
            rounds: None,
        };
        let item = |sequence| FoundItem {
            value: b"i1e".to_vec(),
            version: Some((sequence, [0; 64])),
        };
        for sequence in [5, 3, 5, 7] {
            pending.item(item(sequence));
        }
        assert_eq!(pending.outcome.item, Some(item(7)));
        assert_eq!(told.try_recv(), Ok(Found::Item(item(5))));
        assert_eq!(told.try_recv(), Ok(Found::Item(item(7))));
        assert!(told.try_recv().is_err());

        let peer = |port| SocketAddr::from(([127, 0, 0, 1], port));
        pending.peers([peer(2), peer(1)]);
        pending.peers([peer(2), peer(3)]);
        assert_eq!(pending.outcome.peers, [peer(1), peer(2), peer(3)]);
        assert_eq!(told.try_recv(), Ok(Found::Peers(vec![peer(2), peer(1)])));
        assert_eq!(told.try_recv(), Ok(Found::Peers(vec![peer(3)])));
    }
}
