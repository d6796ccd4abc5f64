use crate::RegisterError;
use std::{fmt, io, path::Path};

/// Why the log refuses.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused. While writing, this also poisons the log.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or directory.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// An earlier write or sync failed. What it should have stored may or may not be on the platter, whatever later
    /// syncs say, so nothing more is accepted: open the log again.
    #[error("an earlier write or sync of this log failed; it must be opened again")]
    Poisoned,
    /// The log has been closed.
    #[error("the log is closed")]
    Closed,
    /// A payload is longer than [`Options::max_record_bytes`](crate::Options::max_record_bytes): one that is to be
    /// appended, or one that was stored under a larger limit.
    #[error("record {position} has a payload of {length} bytes; the limit is {limit}")]
    RecordTooLarge {
        /// Where it is, or would be.
        position: u64,
        /// Its payload, in bytes.
        length: u64,
        /// The limit, in bytes.
        limit: u32,
    },
    /// More was appended than is kept in memory: flush first. Nothing is lost and the log goes on.
    #[error("the write buffer is full ({limit} bytes); flush first")]
    BufferFull {
        /// [`WRITE_BUFFER_BYTES`](crate::WRITE_BUFFER_BYTES).
        limit: usize,
    },
    /// The log does not have this position.
    #[error(
        "position {position} is outside of the log, which has {first} up to, not including, {next}"
    )]
    OutOfRange {
        /// The one asked for.
        position: u64,
        /// The first one there is.
        first: u64,
        /// The one after the last.
        next: u64,
    },
    /// Records that were durable are damaged. Nothing was changed on the disk.
    #[error("records {first} to {last} are damaged: {reason} at byte {offset} of {segment}")]
    Damaged {
        /// Name of the file.
        segment: String,
        /// The first damaged record.
        first: u64,
        /// The last one before the next that can be read, or that is known to have been durable.
        last: u64,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        reason: DamageReason,
    },
    /// A segment that was durable is gone, or ends before its last records. Nothing was changed on the disk.
    #[error("records {first} to {last} are missing: no segment has them")]
    MissingSegment {
        /// The first missing record.
        first: u64,
        /// The last missing record that is known of.
        last: u64,
    },
    /// A file belongs to another log.
    #[error("{file} belongs to another log (identity {found:#018x}, expected {expected:#018x})")]
    WrongIdentity {
        /// Its name.
        file: String,
        /// Whose it is.
        found: u64,
        /// Whose it should be.
        expected: u64,
    },
    /// A file was written by a later version of this program.
    #[error("{file} has format version {version}, which this program does not know")]
    FutureVersion {
        /// Its name.
        file: String,
        /// Its version.
        version: u32,
    },
    /// The log's own register, which says where the log begins and ends, refused.
    #[error("log manifest: {0}")]
    Manifest(#[from] RegisterError),
    /// The log's own register is whole, but what it says does not make sense, or it is missing though segments exist.
    #[error("log manifest: {0}")]
    Inconsistent(&'static str),
}

/// What is wrong with a place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageReason {
    /// The segment's header does not match its checksum.
    SegmentHeader,
    /// The segment's header is whole and says another first position than the file's name.
    Misnamed,
    /// The file ends inside of a record, or where a record should be.
    Short,
    /// Zeros where a record should be.
    Zeros,
    /// A record's header does not match its checksum.
    Header,
    /// A whole record of this log that belongs elsewhere.
    Misplaced,
    /// A whole record, or segment, that was written after another predecessor than the one that stands before it.
    Chain,
    /// A payload does not match its checksum.
    Payload,
    /// A torn tail, where [`Mutant::TornTailIsFatal`](crate::Mutant::TornTailIsFatal) makes it an error.
    TornTail,
}

impl fmt::Display for DamageReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DamageReason::SegmentHeader => "unreadable segment header",
            DamageReason::Misnamed => "segment header of another file",
            DamageReason::Short => "the file ends too early",
            DamageReason::Zeros => "zeros instead of a record",
            DamageReason::Header => "unreadable record header",
            DamageReason::Misplaced => "a record of another position",
            DamageReason::Chain => "it does not follow what stands before it",
            DamageReason::Payload => "payload checksum mismatch",
            DamageReason::TornTail => "torn tail",
        })
    }
}

/// Adds what was tried to an I/O error.
pub(crate) fn io_error<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> LogError + use<'a> {
    move |source| LogError::Io {
        operation,
        path: path.display().to_string(),
        source,
    }
}
