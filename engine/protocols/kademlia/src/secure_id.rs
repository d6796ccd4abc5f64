//! Node ids that are tied to an address (BEP 42, "DHT Security extension"), so that nobody can choose where in the id
//! space he is.
//!
//! The first 21 bits are a CRC-32C over some bits of the address and three bits of chance, which are the last three of
//! the id. An address has eight such prefixes, and a whole network few more.

use crate::{Id, Mutant};
use rand::Rng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The bits of an IPv4 address that count: fewer of what an owner of networks can choose freely.
const MASK_V4: u32 = 0x030f_3fff;
/// The bits of the upper half of an IPv6 address that count.
const MASK_V6: u64 = 0x0103_070f_1f3f_7fff;
/// The chance in an id.
const CHANCE: u8 = 0b111;
/// The first bits of an id that the address decides.
const PREFIX: u32 = 0xffff_f800;

/// An id that is right for a node at `ip`.
pub fn generate(ip: IpAddr, rng: &mut impl Rng) -> Id {
    let mut bytes = *Id::random(rng).as_bytes();
    let prefix = prefix(ip, bytes[19] & CHANCE) & PREFIX;
    let [high, middle, low, _] = prefix.to_be_bytes();
    bytes[0] = high;
    bytes[1] = middle;
    bytes[2] = low | (bytes[2] & 0b111);
    Id::new(bytes)
}

/// Whether `id` is one that a node at `ip` may have: it matches, or the address is exempt.
pub fn is_valid(id: Id, ip: IpAddr) -> bool {
    is_exempt(ip) || matches(id, ip)
}

/// The same with a bug of the zoo in it.
pub(crate) fn is_valid_planted(id: Id, ip: IpAddr, planted: Option<Mutant>) -> bool {
    match ip {
        IpAddr::V4(v4) if Mutant::SecureIdOfOtherBits.is_in(planted) && !is_exempt(ip) => {
            // The first bytes of an address are masked like its last ones.
            let masked = u32::from(v4) & MASK_V4.swap_bytes();
            let last = id.as_bytes()[Id::LEN - 1];
            let seeded = masked | u32::from(last & CHANCE) << 29;
            let [high, middle, low, ..] = *id.as_bytes();
            let first = u32::from_be_bytes([high, middle, low, 0]);
            (first ^ crc32c::crc32c(&seeded.to_be_bytes())) & PREFIX == 0
        }
        ip => is_valid(id, ip),
    }
}

/// Whether `id` matches `ip`, exempt or not.
pub fn matches(id: Id, ip: IpAddr) -> bool {
    let [high, middle, low, .., last] = *id.as_bytes();
    let first = u32::from_be_bytes([high, middle, low, 0]);
    (first ^ prefix(ip, last & CHANCE)) & PREFIX == 0
}

/// Whether ids at this address are not verified: it is local, and nobody outside knows it (BEP 42, "Enforcement").
///
/// The BEP lists blocks of IPv4. Their counterparts in IPv6 are taken the same way: loopback, link-local (RFC 4291) and
/// unique local addresses (RFC 4193).
pub fn is_exempt(ip: IpAddr) -> bool {
    match canonical(ip) {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

/// The checksum that the first bits of an id must be, for three bits of chance.
fn prefix(ip: IpAddr, chance: u8) -> u32 {
    match canonical(ip) {
        IpAddr::V4(ip) => prefix_v4(ip, chance),
        IpAddr::V6(ip) => prefix_v6(ip, chance),
    }
}

fn prefix_v4(ip: Ipv4Addr, chance: u8) -> u32 {
    let masked = (u32::from(ip) & MASK_V4) | u32::from(chance) << 29;
    crc32c::crc32c(&masked.to_be_bytes())
}

fn prefix_v6(ip: Ipv6Addr, chance: u8) -> u32 {
    let high = (u128::from(ip) >> 64) as u64;
    let masked = (high & MASK_V6) | u64::from(chance) << 61;
    crc32c::crc32c(&masked.to_be_bytes())
}

/// An IPv4 address that a socket of both families shows as one of IPv6 is an IPv4 address.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    #[test]
    fn the_planted_checksum_is_over_other_bits() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let ips = (1..100_u32).map(|n| IpAddr::V4(Ipv4Addr::from(0x5500_0000 + n * 65_537)));
        for ip in ips {
            let id = generate(ip, &mut rng);
            assert!(is_valid_planted(id, ip, None));
            let planted = Some(Mutant::SecureIdOfOtherBits);
            let is_valid = is_valid_planted(id, ip, planted);
            assert_eq!(is_valid, !cfg!(debug_assertions), "{ip}");
        }
    }
}
