//! Content-addressed blobs.
//!
//! A blob is bytes, and its name is their SHA-256 ([`BlobId`]): whoever has the name can tell whether he was given the
//! right bytes, so it does not matter whom he asks. Providers are found in the DHT, where they announce themselves as
//! peers of the name's first 20 bytes, as clients do with the SHA-256 of torrents (BEP 52, "infohash"); blobs
//! themselves travel over HTTP, in ranges.
//!
//! - [`BlobStore`] keeps blobs on a [`Disk`](holdfast_host::Disk): a core without a task or a clock. A power cut leaves
//!   a blob there whole, or not at all.
//! - [`Blobs`] is the same for async code, any number of callers at a time.
//! - [`fetch()`] gets one from providers, some of whom may lie.

mod blobs;
mod fetch;
mod id;
mod mutant;
mod store;

pub use blobs::{Blobs, Upload};
pub use fetch::{FetchError, FetchSettings, Fetched, ProviderError, fetch};
pub use id::{BlobId, MalformedBlobId};
pub use mutant::Mutant;
pub use store::{
    BlobInfo, BlobStore, Draft, MAX_DRAFTS, Sealed, StoreError, StoreLimits, measure, verify,
};
