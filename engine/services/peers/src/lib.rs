//! Nodes of the BitTorrent DHT in production: [`holdfast_kademlia`]'s cores on a [`Host`](holdfast_host::Host)'s datagrams.
//!
//! One task drives any number of local nodes ([`Dht::start`]): a socket for each node and address family, one timer for
//! whatever is due next, one buffer for what comes in and one for what goes out. Callers talk to it by a [`DhtHandle`],
//! over a bounded queue. What a caller asks to keep in the DHT (a [`Request`](holdfast_kademlia::Request) that stores
//! something, begun with [`DhtHandle::keep`]) is stored again before it would expire. Tables are saved, so that a node that
//! starts again needs nobody's help to find its way back.
//!
//! A node in both families is two cores with one id (BEP 32); whatever is asked of it is asked in both, and answered
//! once. A host with several addresses of a family is several nodes (BEP 45), with ids that are far from each other; what is
//! done through which of them a [`Via`] says.

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
