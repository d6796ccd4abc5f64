//! The Bloom filters with which the peers of a torrent are counted across nodes (BEP 33, "DHT Scrapes").
//!
//! Each node that knows peers sends the filter of their addresses; the union of the filters is the filter of all peers,
//! however often each was announced.

use crate::hex::Hex;
use crate::krpc::FILTER_LEN;
use sha1::{Digest, Sha1};
use std::fmt;
use std::net::IpAddr;

/// Bits in a filter.
const BITS: u32 = 8 * FILTER_LEN as u32;
/// Bits that an address sets at most.
const HASHES: f64 = 2.0;

/// How many addresses a node should let into a filter (BEP 33, "Changed announce accounting"): from about 8000 on it
/// says nothing any more.
pub const ADDRESS_LIMIT: usize = 6_000;

/// A set of IP addresses of which only the size can be told, roughly.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BloomFilter([u8; FILTER_LEN]);

impl BloomFilter {
    /// The empty set.
    pub const fn new() -> BloomFilter {
        BloomFilter([0; FILTER_LEN])
    }

    /// Its bytes, as they travel.
    pub fn as_bytes(&self) -> &[u8; FILTER_LEN] {
        &self.0
    }

    /// Puts an address in: four bytes or sixteen, without a port.
    pub fn insert(&mut self, ip: IpAddr) {
        for bit in bits(ip) {
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Whether an address may be in it. `false` is certain.
    pub fn may_contain(&self, ip: IpAddr) -> bool {
        bits(ip)
            .iter()
            .all(|bit| self.0[bit / 8] & 1 << (bit % 8) != 0)
    }

    /// Makes it the union with `other`.
    pub fn merge(&mut self, other: &BloomFilter) {
        let pairs = self.0.iter_mut().zip(&other.0);
        pairs.for_each(|(own, other)| *own |= other);
    }

    /// How many of its bits are zero.
    pub fn count_zeros(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_zeros()).sum()
    }

    /// About how many addresses were put in (BEP 33, "Calculating the estimate"). A full filter has the estimate of one
    /// with a single zero, about 7800, and says no more than that there are many. For an empty one the BEP's formula gives
    /// a half; here nothing is nothing.
    ///
    /// The last digits are the platform's: no decision should hang on them.
    pub fn estimate(&self) -> f64 {
        let zeros = self.count_zeros();
        if zeros == BITS {
            return 0.0;
        }
        let bits = f64::from(BITS);
        (f64::from(zeros.max(1)) / bits).ln() / (HASHES * (-1.0 / bits).ln_1p())
    }
}

impl Default for BloomFilter {
    fn default() -> BloomFilter {
        BloomFilter::new()
    }
}

impl From<&[u8; FILTER_LEN]> for BloomFilter {
    fn from(bytes: &[u8; FILTER_LEN]) -> BloomFilter {
        BloomFilter(*bytes)
    }
}

impl fmt::Debug for BloomFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BloomFilter({})", Hex(&self.0))
    }
}

impl FromIterator<IpAddr> for BloomFilter {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(ips: I) -> BloomFilter {
        let mut filter = BloomFilter::new();
        ips.into_iter().for_each(|ip| filter.insert(ip));
        filter
    }
}

/// The bits of an address: the first and the second two bytes of its SHA-1, little-endian.
fn bits(ip: IpAddr) -> [usize; 2] {
    let hash = match ip {
        IpAddr::V4(ip) => Sha1::digest(ip.octets()),
        IpAddr::V6(ip) => Sha1::digest(ip.octets()),
    };
    let bit = |i: usize| usize::from(u16::from_le_bytes([hash[i], hash[i + 1]])) % BITS as usize;
    [bit(0), bit(2)]
}
