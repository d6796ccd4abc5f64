//! How the network and the disks of one run behave while no fault is on.

use serde::{Deserialize, Serialize};

/// In which order packets of one link arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PacketOrder {
    /// As they were sent; duplicates excepted.
    #[default]
    Sent,
    /// Each packet takes its own time, whatever was sent before.
    Independent,
}

/// How packets travel. Probabilities are per packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkProfile {
    /// The least one-way delay, nanoseconds.
    pub delay_min_ns: u64,
    /// The mean of the exponentially distributed delay on top of it, nanoseconds.
    pub delay_tail_ns: u64,
    /// Each directed link multiplies its delays by its own factor between `1 / variation` and `variation`, so that
    /// the two directions of one cable differ too. 1: all links are alike.
    #[serde(default = "one")]
    pub variation: f64,
    /// The probability that a packet is lost.
    #[serde(default)]
    pub loss: f64,
    /// The probability that a packet arrives twice.
    #[serde(default)]
    pub duplication: f64,
    /// The second arrival is up to this much later, nanoseconds; each order of magnitude is as likely as the next.
    #[serde(default = "millisecond")]
    pub duplicate_within_ns: u64,
    /// Whether packets overtake each other.
    #[serde(default)]
    pub order: PacketOrder,
    /// What one directed link carries, bytes per second; absent: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

fn one() -> f64 {
    1.0
}

fn millisecond() -> u64 {
    1_000_000
}

impl Default for NetworkProfile {
    /// A quiet local network: half a millisecond, give or take, and nothing lost.
    fn default() -> Self {
        NetworkProfile {
            delay_min_ns: 300_000,
            delay_tail_ns: 200_000,
            variation: 1.0,
            loss: 0.0,
            duplication: 0.0,
            duplicate_within_ns: millisecond(),
            order: PacketOrder::Sent,
            bytes_per_second: None,
        }
    }
}

/// How a disk takes its time, and how it fails. Probabilities are per operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskProfile {
    /// What a read takes, nanoseconds.
    pub read_ns: u64,
    /// What a write into the page cache takes, nanoseconds.
    pub write_ns: u64,
    /// The least time that a sync of a file or directory takes, nanoseconds.
    pub sync_min_ns: u64,
    /// The mean of the exponentially distributed time on top of it, nanoseconds.
    pub sync_tail_ns: u64,
    /// What each dirty sector adds to a sync, nanoseconds.
    #[serde(default)]
    pub sector_ns: u64,
    /// The probability that a read or write of several bytes moves only some of them.
    #[serde(default)]
    pub short_io: f64,
    /// The probability that a read fails.
    #[serde(default)]
    pub read_error: f64,
    /// The probability that a write fails.
    #[serde(default)]
    pub write_error: f64,
    /// The probability that a sync fails.
    #[serde(default)]
    pub sync_error: f64,
    /// The probability that a write which changes a sector not yet synced finds its former content already written
    /// back: then a power cut can bring that version to light.
    #[serde(default)]
    pub write_back: f64,
    /// What a power cut leaves.
    #[serde(default)]
    pub power_cut: PowerCutProfile,
}

impl Default for DiskProfile {
    /// A good SSD: a tenth of a millisecond for a sync, no errors.
    fn default() -> Self {
        DiskProfile {
            read_ns: 2_000,
            write_ns: 1_000,
            sync_min_ns: 50_000,
            sync_tail_ns: 50_000,
            sector_ns: 0,
            short_io: 0.0,
            read_error: 0.0,
            write_error: 0.0,
            sync_error: 0.0,
            write_back: 0.0,
            power_cut: PowerCutProfile::default(),
        }
    }
}

/// What a power cut does to what was not synced. Weights are relative to each other; not all may be zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerCutProfile {
    /// The probability that a cut loses everything that was not synced: bytes, lengths, names.
    pub lose_all: f64,
    /// The probability that a cut loses nothing at all.
    pub keep_all: f64,
    /// In all other cuts, each 512-byte sector for itself. Weight: the sector was written.
    pub keep: f64,
    /// Weight: the sector was not written.
    pub lose: f64,
    /// Weight: the sector was written up to, or from, a random byte.
    pub tear: f64,
    /// Weight: the bytes that were changed are garbage.
    pub garbage: f64,
    /// The probability that a file's length not yet synced was written.
    pub keep_length: f64,
    /// The probability that a change of names not yet synced was written.
    pub keep_name: f64,
    /// The probability that a directory keeps its changes in order, as a journal does: then one that is lost takes
    /// all later ones with it. Otherwise each is kept or lost for itself.
    pub names_in_order: f64,
}

impl Default for PowerCutProfile {
    /// Everything may happen.
    fn default() -> Self {
        PowerCutProfile {
            lose_all: 0.3,
            keep_all: 0.05,
            keep: 3.0,
            lose: 3.0,
            tear: 2.0,
            garbage: 1.0,
            keep_length: 0.5,
            keep_name: 0.5,
            names_in_order: 0.5,
        }
    }
}
