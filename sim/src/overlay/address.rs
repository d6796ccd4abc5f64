//! Who is where: an index of a node is an IPv4 address, and back, without a table.

use std::net::{Ipv4Addr, SocketAddrV4};

/// The port of every node.
pub const PORT: u16 = 6_881;
/// Bits of an index that say which host of its network a node is, at most.
pub const MAX_NETWORK_BITS: u32 = 7;

/// Bits that name a network of 256 addresses: seven for the first byte, eight each for the next two.
const NETWORK_BITS: u32 = 23;
const NETWORK_MASK: u32 = (1 << NETWORK_BITS) - 1;
/// Odd, and therefore invertible modulo a power of two.
const FACTORS: [u32; 2] = [0x9e37_79b1, 0x85eb_ca6b];
/// More than half of the bits, so that a word that was folded once is unfolded by folding it again.
const FOLD: u32 = 12;

/// First bytes of addresses that are neither private, local, nor reserved: ranges, 128 in all.
const FIRST_BYTES: [(u8, u8); 4] = [(1, 9), (11, 99), (101, 126), (128, 131)];

/// The addresses of an overlay's nodes: a bijection of the index, scattered over networks of 256 addresses (/24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    host_bits: u32,
}

impl Addresses {
    /// Addresses of which 2^`host_bits` neighbours share a network; 0: each node has one of its own.
    ///
    /// # Panics
    /// For more than [`MAX_NETWORK_BITS`].
    pub fn new(host_bits: u32) -> Self {
        assert!(host_bits <= MAX_NETWORK_BITS, "a network has 254 hosts");
        Addresses { host_bits }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        1 << (NETWORK_BITS + self.host_bits)
    }

    /// Where a node is.
    ///
    /// # Panics
    /// For an index that is not below [`count`](Addresses::count).
    #[inline]
    pub fn address(&self, index: u32) -> SocketAddrV4 {
        assert!(index < self.count(), "there are {} addresses", self.count());
        let host = index & ((1 << self.host_bits) - 1);
        let network = scatter(index >> self.host_bits);
        let [_, high, middle, low] = network.to_be_bytes();
        SocketAddrV4::new(
            Ipv4Addr::new(first_byte(high), middle, low, host as u8 + 1),
            PORT,
        )
    }

    /// The index of a node at this address; `None` where no node can be.
    #[inline]
    pub fn index(&self, address: SocketAddrV4) -> Option<u32> {
        let [first, middle, low, host] = address.ip().octets();
        let host = u32::from(host).checked_sub(1)?;
        if host >> self.host_bits != 0 || address.port() != PORT {
            return None;
        }
        let network = u32::from_be_bytes([0, place_of(first)?, middle, low]);
        Some(gather(network) << self.host_bits | host)
    }
}

fn first_byte(place: u8) -> u8 {
    let mut rest = place;
    for (first, last) in FIRST_BYTES {
        let count = last - first + 1;
        if rest < count {
            return first + rest;
        }
        rest -= count;
    }
    unreachable!("seven bits name one of 128")
}

fn place_of(byte: u8) -> Option<u8> {
    let mut before = 0;
    for (first, last) in FIRST_BYTES {
        if (first..=last).contains(&byte) {
            return Some(before + byte - first);
        }
        before += last - first + 1;
    }
    None
}

fn scatter(mut word: u32) -> u32 {
    for factor in FACTORS {
        word = word.wrapping_mul(factor) & NETWORK_MASK;
        word ^= word >> FOLD;
    }
    word
}

fn gather(mut word: u32) -> u32 {
    for factor in FACTORS.into_iter().rev() {
        word ^= word >> FOLD;
        word = word.wrapping_mul(inverse(factor)) & NETWORK_MASK;
    }
    word
}

/// The inverse of an odd number modulo 2^32, by Newton's iteration: each step doubles the bits that are right.
const fn inverse(odd: u32) -> u32 {
    let mut inverse = odd;
    let mut step = 0;
    while step < 5 {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_index_is_an_address_and_back() {
        for host_bits in [0, 3, MAX_NETWORK_BITS] {
            let addresses = Addresses::new(host_bits);
            let mut seen = BTreeSet::new();
            let last = addresses.count() - 1;
            for index in (0..50_000).chain(last - 1_000..=last) {
                let address = addresses.address(index);
                assert_eq!(addresses.index(address), Some(index), "{address}");
                assert!(seen.insert(address), "{address} is twice");
                let ip = address.ip();
                let is_odd = ip.is_private() || ip.is_loopback() || ip.is_link_local();
                assert!(!is_odd && ip.octets()[0] < 224, "{ip}");
            }
        }
    }

    #[test]
    fn neighbours_share_a_network_as_they_are_told_to() {
        let networks = |host_bits| {
            let addresses = Addresses::new(host_bits);
            let network = |index| u32::from(*addresses.address(index).ip()) >> 8;
            (0..1_024).map(network).collect::<BTreeSet<_>>().len()
        };
        assert_eq!((networks(0), networks(4)), (1_024, 64));
    }

    #[test]
    fn where_nobody_can_be_is_nobody() {
        let addresses = Addresses::new(0);
        for text in [
            "10.1.2.1:6881",
            "1.2.3.0:6881",
            "1.2.3.2:6881",
            "1.2.3.1:6880",
        ] {
            let address = text.parse().expect("an address");
            assert_eq!(addresses.index(address), None, "{text}");
        }
    }
}
