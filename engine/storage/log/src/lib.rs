//! A segmented append-only log and a crash-atomic register on a [`Disk`](holdfast_host::Disk).

mod ends;
mod error;
mod format;
mod layout;
mod log;
mod manifest;
mod mutant;
mod reader;
mod recovery;
mod register;
mod split_register;

pub use error::{DamageReason, LogError};
pub use log::{Log, Options, Record, WRITE_BUFFER_BYTES};
pub use mutant::Mutant;
pub use recovery::{Recovery, TornTail};
pub use register::{REGISTER_MAX_BYTES, Register, RegisterError, RegisterOptions};
