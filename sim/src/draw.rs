//! Randomness by counter: every choice is a function of what it is for, never of what was chosen before.
//!
//! A sequential generator ties all choices together: drop one fault from a plan and every later packet takes another
//! delay, so nothing that was seen can be narrowed down. Here the n-th loss draw of one link is
//! `draw(seed, Domain::Loss, link, n)`, whatever else happened. No floating-point function of the platform is used
//! ([`exponential`](Draws::exponential) brings its own logarithm), since libm picks its variants by processor and a
//! replay must not depend on it.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

/// What a random choice is for. Choices of different domains are independent. The numbers are part of what a seed
/// means: add new ones, never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Domain {
    /// Drawing a fault plan.
    Plan = 1,
    /// How a link differs from its neighbours.
    Link = 2,
    /// Loss, duplication and delay of packets.
    Packet = 3,
    /// Loss and delay of what streams carry.
    Stream = 4,
    /// How a stream's bytes are cut into reads and writes.
    Segment = 5,
    /// Device time.
    DiskTime = 6,
    /// Short and failing disk operations.
    DiskFault = 7,
    /// What a power cut does to each sector, length and name.
    PowerCut = 8,
    /// Which node a symbolic target means.
    Target = 9,
    /// The order of simultaneous events.
    Order = 10,
    /// Generators that nodes ask their host for.
    Entropy = 11,
    /// What clients do.
    Workload = 12,
    /// Anything a scenario decides for itself.
    Scenario = 13,
    /// Tails of runs that are branched from a checkpoint.
    Branch = 14,
    /// At which point of its work a machine loses power.
    Instant = 15,
    /// Who knows whom in an overlay, who comes and who goes.
    Overlay = 16,
}

/// 2^64 divided by the golden ratio, odd: successive multiples are as far apart as they can be.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A bijection of 64-bit words in which each input bit changes each output bit with probability one half.
#[inline]
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[inline]
fn key(seed: u64, domain: Domain, entity: u64) -> u64 {
    let seeded = mix(seed.wrapping_add(STEP.wrapping_mul(domain as u64)));
    mix(seeded ^ entity.wrapping_mul(STEP).rotate_left(32))
}

/// The `n`-th choice of `entity` in `domain` under `seed`: 64 evenly distributed bits.
#[inline]
pub fn draw(seed: u64, domain: Domain, entity: u64, n: u64) -> u64 {
    mix(key(seed, domain, entity).wrapping_add(n.wrapping_mul(STEP)))
}

/// The stream `draw(seed, domain, entity, 0..)` and its position: two words, cheap to clone and to keep per link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draws {
    key: u64,
    n: u64,
}

impl Draws {
    /// The stream of `entity` in `domain`, at its beginning.
    pub fn new(seed: u64, domain: Domain, entity: u64) -> Self {
        Draws {
            key: key(seed, domain, entity),
            n: 0,
        }
    }

    /// The next 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        let bits = self.nth(self.n);
        self.n += 1;
        bits
    }

    /// The `n`-th word of the stream, wherever the stream stands.
    #[inline]
    pub fn nth(&self, n: u64) -> u64 {
        mix(self.key.wrapping_add(n.wrapping_mul(STEP)))
    }

    /// How many words have been drawn.
    pub fn drawn(&self) -> u64 {
        self.n
    }

    /// A number in `[0, 1)` with 53 random bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        unit(self.bits())
    }

    /// True with probability `p`; never for 0 or less, always for 1 or more. Uses one word either way.
    #[inline]
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A number in `low..high`.
    ///
    /// # Panics
    /// When the range is empty.
    #[inline]
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        assert!(low < high, "a draw from the empty range {low}..{high}");
        low + scale(self.bits(), high - low)
    }

    /// An exponentially distributed number with this mean, rounded down; at most 36.8 times the mean.
    #[inline]
    pub fn exponential(&mut self, mean: u64) -> u64 {
        exponential(self.bits(), mean)
    }

    /// A number between `low` and `high` whose logarithm is evenly distributed: each order of magnitude is as likely
    /// as the next. Equal bounds give that bound.
    ///
    /// # Panics
    /// Unless `0 < low <= high`.
    pub fn magnitude(&mut self, low: u64, high: u64) -> u64 {
        assert!(0 < low && low <= high, "no magnitude in {low}..={high}");
        // Halving the interval at its geometric mean needs no exponential function; 20 times are precise enough.
        let (mut bits, mut low, mut high) = (self.bits(), low as f64, high as f64);
        for _ in 0..20 {
            let middle = (low * high).sqrt();
            match bits & 1 {
                0 => high = middle,
                _ => low = middle,
            }
            bits >>= 1;
        }
        low as u64
    }

    /// An element of `choices`.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.range(0, choices.len() as u64) as usize]
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.range(0, last as u64 + 1) as usize);
        }
    }
}

/// `bits` as a number in `[0, 1)`.
#[inline]
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// `bits` as a number below `bound`. The bias is below `bound / 2^64`, which no run is long enough to see.
#[inline]
fn scale(bits: u64, bound: u64) -> u64 {
    ((bits as u128 * bound as u128) >> 64) as u64
}

/// `bits` as an exponentially distributed number with this mean, rounded down.
#[inline]
pub fn exponential(bits: u64, mean: u64) -> u64 {
    // 1 - unit is in (0, 1], where the logarithm is finite.
    (-ln(1.0 - unit(bits)) * mean as f64) as u64
}

/// The natural logarithm of a normal positive number, to about 10 digits, in operations that IEEE 754 defines exactly.
#[inline]
fn ln(x: f64) -> f64 {
    const LN_2: f64 = std::f64::consts::LN_2;
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)); the argument is below 0.172, so six terms of the series do.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let y = z * z;
    let series =
        1.0 + y * (1.0 / 3.0 + y * (0.2 + y * (1.0 / 7.0 + y * (1.0 / 9.0 + y * (1.0 / 11.0)))));
    exponent as f64 * LN_2 + 2.0 * z * series
}

/// The `n`-th generator that `incarnation` of `node` asks for under this `purpose`.
///
/// What [`Entropy::rng`](holdfast_host::Entropy::rng) promises of simulation: a function of its arguments only.
pub fn node_rng(seed: u64, node: u32, incarnation: u32, purpose: &str, n: u64) -> ChaCha8Rng {
    let process = (u64::from(node) << 32) | u64::from(incarnation);
    let mut draws = Draws::new(
        seed ^ name_hash(purpose).wrapping_add(n.wrapping_mul(STEP)),
        Domain::Entropy,
        process,
    );
    let mut key = [0; 32];
    for word in key.chunks_exact_mut(8) {
        word.copy_from_slice(&draws.bits().to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// 64 bits that stand for `name` wherever a number is wanted: in entities, payloads of the trace.
pub fn name_hash(name: &str) -> u64 {
    bytes_hash(name.as_bytes())
}

/// 64 bits that stand for `bytes`. Not for adversaries: collisions can be constructed.
pub fn bytes_hash(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    // Spread out, so that no last bytes undo what the length did.
    let mut hash = STEP ^ (bytes.len() as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("chunks of eight"));
        hash = (hash ^ word)
            .wrapping_mul(0xd6e8_feb8_6659_fd93)
            .rotate_left(29);
    }
    let rest = words.remainder();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash ^ u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::RngCore;

    /// Whether the population count over many words is what fair bits give: 6 standard deviations are allowed.
    fn looks_fair(words: impl Iterator<Item = u64>) {
        let mut ones = [0u64; 64];
        let mut count = 0u64;
        let mut changes = 0u64;
        let mut previous = 0;
        for word in words {
            for (bit, ones) in ones.iter_mut().enumerate() {
                *ones += (word >> bit) & 1;
            }
            changes += u64::from((word ^ previous).count_ones());
            previous = word;
            count += 1;
        }
        let allowed = 6.0 * (count as f64 / 4.0).sqrt();
        for (bit, ones) in ones.iter().enumerate() {
            let off = (*ones as f64 - count as f64 / 2.0).abs();
            assert!(
                off < allowed,
                "bit {bit} is set {ones} times in {count} words"
            );
        }
        let bits = 64.0 * count as f64;
        let off = (changes as f64 - bits / 2.0).abs();
        assert!(
            off < 6.0 * (bits / 4.0).sqrt(),
            "{changes} of {bits} bits change"
        );
    }

    #[test]
    fn every_argument_alone_makes_fair_bits() {
        const WORDS: u64 = 20_000;
        looks_fair((0..WORDS).map(|n| draw(1, Domain::Plan, 1, n)));
        looks_fair((0..WORDS).map(|entity| draw(1, Domain::Plan, entity, 1)));
        looks_fair((0..WORDS).map(|seed| draw(seed, Domain::Plan, 1, 1)));
        // Seeds and entities that differ in high bits only.
        looks_fair((0..WORDS).map(|seed| draw(seed << 44, Domain::Plan, 0, 0)));
        looks_fair((0..WORDS).map(|entity| draw(0, Domain::Plan, entity << 32, 0)));
    }

    #[test]
    fn neighbouring_arguments_never_coincide() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..20 {
            for domain in [Domain::Plan, Domain::Link, Domain::Packet, Domain::Branch] {
                for entity in 0..20 {
                    for n in 0..20 {
                        assert!(seen.insert(draw(seed, domain, entity, n)));
                    }
                }
            }
        }
    }

    #[test]
    fn a_stream_is_its_draws() {
        let mut draws = Draws::new(3, Domain::Link, 9);
        for n in 0..100 {
            assert_eq!(draws.bits(), draw(3, Domain::Link, 9, n));
        }
        assert_eq!(draws.drawn(), 100);
    }

    #[test]
    fn distributions_have_their_means() {
        let mut draws = Draws::new(5, Domain::Workload, 0);
        let count = 200_000;
        let mut buckets = [0u64; 10];
        let (mut sum, mut hits, mut above_mean) = (0.0, 0, 0);
        for _ in 0..count {
            buckets[draws.range(10, 20) as usize - 10] += 1;
            hits += u64::from(draws.chance(0.01));
            let delay = draws.exponential(1_000_000);
            sum += delay as f64;
            above_mean += u64::from(delay > 1_000_000);
        }
        for bucket in buckets {
            assert!((19_000..21_000).contains(&bucket), "{buckets:?}");
        }
        assert!((1_800..2_200).contains(&hits), "{hits}");
        let mean = sum / count as f64;
        assert!((990_000.0..1_010_000.0).contains(&mean), "{mean}");
        // 1/e of an exponential distribution lies above its mean.
        let share = above_mean as f64 / count as f64;
        assert!((0.3629..0.3729).contains(&share), "{share}");
    }

    #[test]
    fn magnitudes_are_even_on_a_logarithmic_scale() {
        let mut draws = Draws::new(5, Domain::Workload, 1);
        let mut decades = [0u64; 3];
        for _ in 0..30_000 {
            let drawn = draws.magnitude(10, 9_999);
            assert!((10..=9_999).contains(&drawn));
            decades[drawn.ilog10() as usize - 1] += 1;
        }
        for decade in decades {
            assert!((9_500..10_500).contains(&decade), "{decades:?}");
        }
        assert_eq!(draws.magnitude(7, 7), 7);
    }

    #[test]
    fn the_logarithm_agrees_with_the_platforms() {
        let mut draws = Draws::new(5, Domain::Workload, 2);
        for _ in 0..10_000 {
            let x = 1.0 - draws.unit();
            assert!((ln(x) - x.ln()).abs() < 1e-9 * (1.0 + x.ln().abs()), "{x}");
        }
        assert_eq!(ln(1.0), 0.0);
        assert!(exponential(u64::MAX, 1_000) <= 36_800);
    }

    #[test]
    fn shuffles_reach_every_order() {
        let mut draws = Draws::new(5, Domain::Workload, 3);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..6_000 {
            let mut items = [1, 2, 3];
            draws.shuffle(&mut items);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (850..1_150).contains(count)));
    }

    #[test]
    fn generators_differ_by_every_argument() {
        let base = (7, 1, 1, "raft", 0);
        let others = [
            (8, 1, 1, "raft", 0),
            (7, 2, 1, "raft", 0),
            (7, 1, 2, "raft", 0),
            (7, 1, 1, "gossip", 0),
            (7, 1, 1, "raft", 1),
        ];
        let first = |(seed, node, incarnation, purpose, n)| {
            node_rng(seed, node, incarnation, purpose, n).next_u64()
        };
        assert_eq!(first(base), first(base));
        for other in others {
            assert_ne!(first(base), first(other), "{other:?}");
        }
    }

    #[test]
    fn hashes_tell_lengths_and_bytes_apart() {
        let mut seen = std::collections::BTreeSet::new();
        for length in 0..40 {
            assert!(seen.insert(bytes_hash(&vec![0; length])));
            for at in 0..length {
                let mut bytes = vec![0; length];
                bytes[at] = 1;
                assert!(seen.insert(bytes_hash(&bytes)), "{length} {at}");
            }
        }
    }
}
