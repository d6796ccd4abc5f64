/// Through which local nodes something is done. A host with several addresses runs a node at each (BEP 45): to
/// everybody else they are strangers to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// This one, by its place in [`Settings::nodes`](crate::Settings::nodes).
    Node(usize),
    /// One of those that others answer, by lot each time: what is stored is the same through whichever (BEP 45, "Other
    /// write operations").
    Any,
    /// Each of them, one some time after another, so that no node is asked for the same by all at once. Each begins
    /// with whom the one before has found, and gets tokens of its own (BEP 45, "Multi addresses announce_peer"). What
    /// they find is told as one outcome. At most 256 nodes do so.
    Each,
}
