use holdfast_host::Host;
use http::{HeaderMap, HeaderValue};
use rand_chacha::rand_core::RngCore;
use std::sync::atomic::{AtomicU64, Ordering};

/// The header that names a request, on the way to a node and back.
pub const REQUEST_ID_HEADER: &str = "x-request-id";
/// Longest name that a client may give.
const MAX_LETTERS: usize = 64;

/// Names requests, so that an answer, a log line and an audit record can be put together.
pub struct RequestIds {
    /// Drawn at the start, so that no two runs of any node give the same names.
    run: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// Names for one run of a node.
    pub fn new(host: &Host) -> RequestIds {
        RequestIds {
            run: host.rng("request-ids").next_u64(),
            next: AtomicU64::new(1),
        }
    }

    /// The name that the client gave, when it is one that can stand in a log (letters, digits, `.`, `_`, `-`; at most
    /// 64), else a new one.
    pub fn name(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(given) = headers.get(REQUEST_ID_HEADER) {
            let bytes = given.as_bytes();
            let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
            if (1..=MAX_LETTERS).contains(&bytes.len()) && bytes.iter().all(is_good) {
                return given.clone();
            }
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:016x}-{number}", self.run);
        HeaderValue::from_str(&name).expect("digits are ASCII")
    }
}
