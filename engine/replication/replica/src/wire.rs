//! Frames between replicas.
//!
//! ```text
//! byte 0       version (1)
//!      1..5    length of the body, little endian
//!      5..9    CRC-32C of the body
//!      9..     body: postcard, a Hello first, then Messages
//! ```

use holdfast_raft::NodeId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The frame format's version.
pub const VERSION: u8 = 1;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 9;
/// Largest body that is accepted; appends and snapshot pieces stay well below it.
pub const MAX_BODY_BYTES: usize = 16 << 20;
/// Largest body of a [`Hello`]: three numbers.
pub const MAX_HELLO_BYTES: usize = 64;

/// The first frame on a connection: who calls whom, in which cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The cluster's identity.
    pub cluster: u64,
    /// The caller.
    pub from: NodeId,
    /// Whom it means to talk to.
    pub to: NodeId,
}

/// Why bytes are no frame. The connection is closed: what follows cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Another protocol, or a newer one.
    #[error("frame version {0}, this program speaks {VERSION}")]
    Version(u8),
    /// Longer than is accepted here.
    #[error("a frame of {len} bytes; at most {limit} are accepted")]
    TooLong {
        /// How long.
        len: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Damaged on the way.
    #[error("frame checksum does not match")]
    Checksum,
    /// Not what was expected here.
    #[error("frame does not decode: {0}")]
    Malformed(String),
}

/// Appends one frame to `out`.
///
/// # Panics
/// When the body is larger than [`MAX_BODY_BYTES`]: messages are bounded by configuration.
pub fn encode<T: Serialize>(body: &T, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let taken = std::mem::take(out);
    *out = postcard::to_extend(body, taken).expect("messages encode");
    let len = out.len() - start - HEADER_BYTES;
    assert!(len <= MAX_BODY_BYTES, "a message of {len} bytes");
    let checksum = crc32c::crc32c(&out[start + HEADER_BYTES..]);
    out[start] = VERSION;
    out[start + 1..start + 5].copy_from_slice(&(len as u32).to_le_bytes());
    out[start + 5..start + 9].copy_from_slice(&checksum.to_le_bytes());
}

/// The body's length, from a header: at most `limit`, which is [`MAX_BODY_BYTES`] or less.
pub fn body_len(header: &[u8; HEADER_BYTES], limit: usize) -> Result<usize, FrameError> {
    assert!(limit <= MAX_BODY_BYTES);
    if header[0] != VERSION {
        return Err(FrameError::Version(header[0]));
    }
    let len = u32::from_le_bytes(header[1..5].try_into().expect("four bytes")) as usize;
    if len > limit {
        return Err(FrameError::TooLong { len, limit });
    }
    Ok(len)
}

/// A frame's body, checked against its header.
pub fn decode<T: DeserializeOwned>(
    header: &[u8; HEADER_BYTES],
    body: &[u8],
) -> Result<T, FrameError> {
    if crc32c::crc32c(body).to_le_bytes() != header[5..9] {
        return Err(FrameError::Checksum);
    }
    let (message, rest) = postcard::take_from_bytes(body)
        .map_err(|error| FrameError::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        let what = format!("{} bytes behind its end", rest.len());
        return Err(FrameError::Malformed(what));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;
    use bytes::Bytes;
    use holdfast_raft::SnapshotMeta;
    use proptest::{collection::vec, prelude::*};

    fn chunk(bytes: Vec<u8>) -> Message {
        Message::SnapshotChunk {
            from: 1,
            term: 2,
            meta: SnapshotMeta::default(),
            total: 3,
            checksum: 4,
            offset: 5,
            bytes: Bytes::from(bytes),
        }
    }

    /// A frame around any body, right in everything else.
    fn frame(body: &[u8]) -> [u8; HEADER_BYTES] {
        let mut header = [VERSION; HEADER_BYTES];
        header[1..5].copy_from_slice(&(body.len() as u32).to_le_bytes());
        header[5..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
        header
    }

    #[test]
    fn a_body_with_something_behind_it_is_refused() {
        let mut body = postcard::to_stdvec(&chunk(vec![1, 2])).expect("messages encode");
        assert_eq!(decode(&frame(&body), &body), Ok(chunk(vec![1, 2])));
        body.push(0);
        let refused = decode::<Message>(&frame(&body), &body);
        assert!(matches!(refused, Err(FrameError::Malformed(_))));
    }

    #[test]
    fn the_largest_frame_is_accepted_and_none_above() {
        let header = |len: usize| {
            let mut header = [VERSION; HEADER_BYTES];
            header[1..5].copy_from_slice(&(len as u32).to_le_bytes());
            header
        };
        for limit in [MAX_BODY_BYTES, MAX_HELLO_BYTES] {
            assert_eq!(body_len(&header(limit), limit), Ok(limit));
            let len = limit + 1;
            let refused = Err(FrameError::TooLong { len, limit });
            assert_eq!(body_len(&header(len), limit), refused);
        }
    }

    #[test]
    #[should_panic(expected = "a message of")]
    fn nothing_larger_is_sent() {
        encode(&chunk(vec![0; MAX_BODY_BYTES]), &mut Vec::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn random_bytes_are_a_frame_or_refused(header in any::<[u8; HEADER_BYTES]>(), body in vec(any::<u8>(), 0..200)) {
            let _ = body_len(&header, MAX_BODY_BYTES);
            let is_right = header[5..] == frame(&body)[5..];
            prop_assert!(is_right || decode::<Message>(&header, &body) == Err(FrameError::Checksum));
        }

        #[test]
        fn random_bodies_are_a_message_or_refused(body in vec(any::<u8>(), 0..200)) {
            let _ = decode::<Message>(&frame(&body), &body);
            let _ = decode::<Hello>(&frame(&body), &body);
        }

        #[test]
        fn a_changed_body_is_a_message_or_refused(at in any::<usize>(), byte in any::<u8>()) {
            let mut body = postcard::to_stdvec(&chunk(vec![1, 2, 3])).expect("messages encode");
            let at = at % body.len();
            body[at] = byte;
            let _ = decode::<Message>(&frame(&body), &body);
        }
    }

    #[test]
    fn frames_round_trip_and_damage_is_seen() {
        // The longest there is.
        let hello = Hello {
            cluster: u64::MAX,
            from: u64::MAX,
            to: u64::MAX - 1,
        };
        let mut bytes = vec![0xaa];
        encode(&hello, &mut bytes);
        let (header, body) = bytes[1..]
            .split_first_chunk::<HEADER_BYTES>()
            .expect("header");
        assert_eq!(body_len(header, MAX_HELLO_BYTES), Ok(body.len()));
        assert_eq!(decode::<Hello>(header, body), Ok(hello));
        for at in 0..body.len() {
            let mut damaged = body.to_vec();
            damaged[at] ^= 4;
            assert_eq!(decode::<Hello>(header, &damaged), Err(FrameError::Checksum));
        }
    }

    #[test]
    fn foreign_headers_are_refused() {
        let limit = MAX_BODY_BYTES;
        assert_eq!(
            body_len(b"GET / HTT", limit),
            Err(FrameError::Version(b'G'))
        );
        let mut long = [0xff; HEADER_BYTES];
        long[0] = VERSION;
        let len = u32::MAX as usize;
        let refused = Err(FrameError::TooLong { len, limit });
        assert_eq!(body_len(&long, limit), refused);
    }
}
