//! Nodes of the BitTorrent DHT in production: [`holdfast_kademlia`]'s cores on a [`Host`](holdfast_host::Host)'s datagrams.
//!
//! One task drives any number of local nodes ([`Dht::start`]): a socket for each node and address family, one timer for
//! whatever is due next, one buffer for what comes in and one for what goes out. Callers talk to it by a [`DhtHandle`],
//! over a bounded queue. What a caller asks to keep in the DHT (a [`Request`](holdfast_kademlia::Request) that stores
//! something, begun with [`DhtHandle::keep`]) is stored again before it would expire. Tables are saved, so that a node that
//! starts again needs nobody's help to find its way back.
//!
//! A node in both families is two cores with one id (BEP 32); whatever is asked of it is asked in both, and answered
//! once. A host with several addresses of a family is several nodes (BEP 45), with ids that are far from each other;
//! what is done through which of them a [`Via`] says. Of BEP 45 this is
//!
//! - "Mandatory": an id, drawn until it is far from the others, a socket, answers and tokens for each address; no two
//!   ask for the same at once, neither in turns nor when what is kept is stored again;
//! - "Recommended/Optional": which addresses is said by whoever runs it ([`Settings::nodes`]); none is found by itself;
//! - "Determining Connectivity": what goes through any goes through one that others answer, while all keep their tables
//!   up, and a link that is down costs no other address a contact;
//! - "Shared Routing Table", "Shared Storage": one of each for each address, which the BEP has as the plain way;
//! - "Multi addresses `announce_peer`": in turns, with tokens of its own each, beginning with whom the one before has
//!   found;
//! - "Other write operations": through one, another each time.

mod crawl;
mod direct;
mod driver;
mod handle;
mod kept;
mod local;
mod mutant;
mod pending;
mod ready;
mod saves;
mod settings;
mod start;
mod status;
mod time;
mod via;

pub use crawl::{Crawl, CrawlLimits};
pub use handle::{DhtError, DhtHandle, Lookup, NewItem};
pub use kept::{ITEM_INTERVAL, KeptKind, KeptStatus, MAX_KEPT, PEER_INTERVAL};
pub use mutant::Mutant;
pub use pending::{Family, Found, FoundItem, FoundSamples, Hop, NodeContact, Outcome, Report};
pub use settings::{LocalNode, MAX_BOOTSTRAP, MAX_NODES, PUBLIC_ROUTERS, Settings, SettingsError};
pub use start::{Dht, StartError};
pub use status::{FamilyStatus, NodeStatus, Status, Traffic};
pub use via::Via;
