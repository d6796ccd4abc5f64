use crate::{Output, Replica};

/// Looks on while a replica works, and changes nothing: how a simulator checks Raft inside a node that runs.
///
/// Called from the replica's own task, so that what is seen is what the core did, in the order in which it did it.
pub trait Observer<S>: Send + Sync {
    /// The replica has recovered and is about to join; `repaired` tells whether a torn tail was cut off its log.
    fn started(&self, replica: &Replica<S>, repaired: bool);

    /// `output` is about to be carried out. The core may have taken further inputs since it put it out.
    fn output(&self, replica: &Replica<S>, output: &Output<S>);

    /// Every output so far is carried out, and no further input taken.
    fn settled(&self, replica: &Replica<S>);
}
