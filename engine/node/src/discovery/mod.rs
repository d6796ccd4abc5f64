//! How the members of a cluster are found through the DHT.
//!
//! A cluster has an ed25519 key. A mutable item of that key (BEP 44) lists every member: its number, where it listens
//! for its peers, and where for clients. A member that has the secret sees to it that its own addresses in the list are
//! right, and that the item is not forgotten; who has only the public key can read it.
//!
//! # What it may do, and what not
//! It finds addresses; it does not decide who is a member.
//!
//! - A node that was told its members (`--peer`, `cluster.peers`) tries addresses of the item beside those that it was
//!   told, in turns. A list of other members is an error in the log and nothing else.
//! - A node whose data folder belongs to a cluster has the members of that folder. A list of others is not taken.
//! - A node without data that was told no members takes those of the list, as it would take them from its operator:
//!   once, for the folder then says who they are. It takes only a list that has it and somebody else, so no item can
//!   make a node a cluster of its own; and peers of another cluster, or that were told other members, are strangers to
//!   each other ([`NodeConfig::group`](crate::config::NodeConfig::group)).
//! - Nobody takes a list with a lower sequence number than one that he has seen: an old item that was kept by somebody
//!   and stored again when the last one was forgotten leads nobody back to addresses that others may have by now.
//!
//! # Two writers
//! A writer changes its own line of the list that it found, signs it with a higher sequence number, and stores it on
//! the condition that the one it found is still there (`cas`). Who is refused by anybody, also when others took it,
//! looks again, and changes the list that is there then. The number is the time in microseconds since 1970, or one more
//! than the last where that is higher: two writers do not have the same, and it rises also when everybody has forgotten
//! the last one. Where there is no item yet there is nothing to compare with; so a writer looks again a minute after
//! everything that was new to it.
//!
//! # Who keeps it
//! The leader stores it again after every interval, and whoever begins to lead soon after it does: the one before him may
//! have been about to. Any other writer stores it when it is not there.
//!
//! Everybody can read an item whose key he knows: what stands in it is public.

mod keeper;
mod key;
mod look;
mod resolve;
mod roster;

pub use keeper::{DiscoveryHandle, DiscoveryState, RoundError};
pub(crate) use keeper::{Keeper, KeeperParts};
pub use key::{ClusterKey, ClusterSecret, ItemName, MalformedClusterKey, seed_digits};
pub use look::{LookError, Unusable};
pub use resolve::{DiscoveryError, completed};
pub(crate) use resolve::{completed_rigged, secret_of};
pub use roster::{
    Addresses, MAX_MEMBERS, Roster, RosterError, SignError, SignedRoster, is_address,
};
