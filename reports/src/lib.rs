//! What a run leaves behind: tables for the terminal, Parquet for whoever asks later, and one HTML page for a seed.
//!
//! It reads the records and timelines of `holdfast-record` and knows nothing of engines or simulators: it runs nothing
//! and decides nothing, least of all whether a run passed. The types that matter are [`Summary`], which
//! [`aggregate`](summary::aggregate) makes of many records, and [`Page`](html::Page), which shows one of them.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a tool on a developer's machine: it writes files, and no simulator ever runs it"
)]

pub mod frame;
pub mod html;
pub mod summary;
pub mod table;

pub use summary::Summary;

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The table library refused.
    #[error("cannot aggregate the records: {0}")]
    Frame(#[from] polars::error::PolarsError),
    /// A file could not be written or read.
    #[error("cannot write the records: {0}")]
    Io(#[from] std::io::Error),
}
