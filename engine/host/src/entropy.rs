use rand_chacha::ChaCha8Rng;

/// The source of every random choice.
pub trait Entropy: Send + Sync + 'static {
    /// A fresh generator for `purpose`. In production it is seeded by the operating system. In simulation it is a
    /// function of (seed, node, incarnation, purpose, how often this purpose asked before).
    fn rng(&self, purpose: &str) -> ChaCha8Rng;
}
