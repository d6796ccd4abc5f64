/// A bug of the zoo, planted in the node itself: in how it finds its cluster, and announces its blobs. Has an effect
/// only where debug assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A blob is announced when it is stored, and never again.
    AnnouncedOnce,
    /// What the store holds at a start is not announced.
    StoredNotAnnounced,
    /// A blob that is found to be damaged, and removed, is announced all the same.
    DamagedStaysAnnounced,
    /// A list of members that has changed is signed with the number of the last one.
    SequenceNotRaised,
    /// Whatever list the DHT has is taken, also one that is older than one that was seen.
    OlderListTaken,
    /// What a node of the DHT says that the item is is taken for it, whoever has signed it.
    UnsignedBelieved,
    /// Where the item says that peers are is not told to who connects to them.
    HintsForgotten,
}

impl Mutant {
    /// Whether this is the one that was planted.
    pub fn is_in(self, planted: Option<Mutant>) -> bool {
        cfg!(debug_assertions) && planted == Some(self)
    }

    /// The bug of the DHT's core that it stands for.
    pub(crate) fn dht(planted: Option<Mutant>) -> Option<holdfast_kademlia::Mutant> {
        Mutant::UnsignedBelieved
            .is_in(planted)
            .then_some(holdfast_kademlia::Mutant::ItemUnverified)
    }
}
