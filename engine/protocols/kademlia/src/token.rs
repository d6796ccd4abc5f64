//! Write tokens (BEP 5, "Queries"): who wants to announce or put something must have asked at the same address before,
//! so that nobody can store under an address that he does not have.

use crate::{Id, Nanos, StoreMutant};
use rand::Rng;
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::IpAddr;

/// Bytes in a token. To guess one takes 2^63 datagrams on average, of which ten minutes have room for few.
pub const TOKEN_LEN: usize = 8;
/// How long the same tokens are given, in nanoseconds (BEP 5: five minutes). They are taken for as long again.
pub const TOKEN_PERIOD: Nanos = 300 * 1_000_000_000;

/// Bytes in a secret.
const SECRET_LEN: usize = 16;

/// Gives tokens, and knows them again.
///
/// BEP 5 tells of a secret that changes every five minutes. Here the secret stays, and the number of the period is
/// hashed with it, which comes to the same, needs neither chance nor a timer, and leaves nothing to be kept.
///
/// A token is good for one IP address, from any port, and for one id: that of the torrent or item that was asked for,
/// which BEP 44 allows and libtorrent does. Whoever wants to fill a node with torrents has to ask for each.
#[derive(Clone)]
pub struct Tokens {
    secret: [u8; SECRET_LEN],
}

impl Tokens {
    /// With a secret from `rng`. Another secret knows none of the tokens.
    pub fn new(rng: &mut impl Rng) -> Tokens {
        let mut secret = [0; SECRET_LEN];
        rng.fill_bytes(&mut secret);
        Tokens { secret }
    }

    /// The token for a node at `ip` that asked for `id`.
    pub fn issue(&self, now: Nanos, ip: IpAddr, id: Id) -> [u8; TOKEN_LEN] {
        self.token(now / TOKEN_PERIOD, ip, id)
    }

    /// Whether `token` was given to a node at `ip` for `id`, in this period or the one before. How long it takes says
    /// nothing about how much of a wrong token is right.
    pub fn check(
        &self,
        now: Nanos,
        ip: IpAddr,
        id: Id,
        token: &[u8],
        planted: Option<StoreMutant>,
    ) -> bool {
        let Ok(token) = <[u8; TOKEN_LEN]>::try_from(token) else {
            return false;
        };
        if StoreMutant::TokenOfAnyAddress.is_in(planted) {
            return true;
        }
        let token = u64::from_ne_bytes(token);
        let period = now / TOKEN_PERIOD;
        let is_of = |period| token == u64::from_ne_bytes(self.token(period, ip, id));
        let before = match StoreMutant::OldTokenRefused.is_in(planted) {
            true => None,
            false => period.checked_sub(1),
        };
        // Eight bytes are compared in one instruction, so neither comparison ends early.
        is_of(period) || before.is_some_and(is_of)
    }

    fn token(&self, period: u64, ip: IpAddr, id: Id) -> [u8; TOKEN_LEN] {
        // Everything before the address has a fixed length, and each family has its own: no two inputs are the same.
        // Nothing can be appended to a hash of which only a part is known.
        let hash = Sha256::new()
            .chain_update(self.secret)
            .chain_update(period.to_be_bytes())
            .chain_update(id.as_bytes());
        let hash = match ip.to_canonical() {
            IpAddr::V4(ip) => hash.chain_update(ip.octets()),
            IpAddr::V6(ip) => hash.chain_update(ip.octets()),
        };
        let hash: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = hash;
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}
