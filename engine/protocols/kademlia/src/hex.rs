//! Hexadecimal digits, as ids, keys and salts are written.

use std::fmt;

/// The bytes that `text` writes, if it has exactly two digits of either case for each.
pub(crate) fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    decode_into(text, &mut bytes).then_some(bytes)
}

/// Fills `bytes` from `text`; `false` if it has other than two digits for each.
pub(crate) fn decode_into(text: &[u8], bytes: &mut [u8]) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.len() == 2 * bytes.len()
        && bytes
            .iter_mut()
            .zip(text.chunks_exact(2))
            .all(|(byte, pair)| {
                let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                    return false;
                };
                *byte = (high << 4 | low) as u8;
                true
            })
}

/// Shows bytes as lower-case digits.
pub(crate) struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
