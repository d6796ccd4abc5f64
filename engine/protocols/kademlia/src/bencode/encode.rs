//! Writing bencode.

use super::Raw;

/// Writes a string.
#[inline]
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_decimal(out, bytes.len() as u64);
    out.push(b':');
    out.extend_from_slice(bytes);
}

/// Writes an integer.
pub fn write_integer(out: &mut Vec<u8>, integer: i64) {
    out.push(b'i');
    if integer < 0 {
        out.push(b'-');
    }
    write_decimal(out, integer.unsigned_abs());
    out.push(b'e');
}

/// Writes a dictionary, of which `fill` writes the entries.
pub fn write_dictionary<'k>(out: &mut Vec<u8>, fill: impl FnOnce(&mut Dictionary<'_, 'k>)) {
    out.push(b'd');
    fill(&mut Dictionary { out, last: None });
    out.push(b'e');
}

/// Writes a list, of which `fill` writes the elements.
pub fn write_list(out: &mut Vec<u8>, fill: impl FnOnce(&mut List<'_>)) {
    out.push(b'l');
    fill(&mut List { out });
    out.push(b'e');
}

/// Writes the entries of a dictionary.
///
/// Keys must come in strictly ascending order, as bencode has it (BEP 3); every method panics if one does not. In what
/// this crate writes, keys are constants, so the first test of a message finds a wrong order.
pub struct Dictionary<'o, 'k> {
    out: &'o mut Vec<u8>,
    last: Option<&'k [u8]>,
}

impl<'k> Dictionary<'_, 'k> {
    /// An entry whose value is a string.
    #[inline]
    pub fn bytes(&mut self, key: &'k [u8], value: &[u8]) {
        write_bytes(self.key(key), value);
    }

    /// An entry whose value is an integer.
    #[inline]
    pub fn integer(&mut self, key: &'k [u8], value: i64) {
        write_integer(self.key(key), value);
    }

    /// An entry whose value is written as it is.
    pub fn raw(&mut self, key: &'k [u8], value: Raw<'_>) {
        self.key(key).extend_from_slice(value.bytes());
    }

    /// An entry of which `fill` appends the value.
    pub(crate) fn with(&mut self, key: &'k [u8], fill: impl FnOnce(&mut Vec<u8>)) {
        fill(self.key(key));
    }

    /// An entry whose value is a string of `length` bytes, which `fill` appends.
    ///
    /// # Panics
    ///
    /// If `fill` appends fewer or more.
    #[inline]
    pub fn bytes_with(&mut self, key: &'k [u8], length: usize, fill: impl FnOnce(&mut Vec<u8>)) {
        write_bytes_with(self.key(key), length, fill);
    }

    /// An entry whose value is a dictionary.
    #[inline]
    pub fn dictionary<'i>(&mut self, key: &'k [u8], fill: impl FnOnce(&mut Dictionary<'_, 'i>)) {
        write_dictionary(self.key(key), fill);
    }

    /// An entry whose value is a list.
    pub fn list(&mut self, key: &'k [u8], fill: impl FnOnce(&mut List<'_>)) {
        write_list(self.key(key), fill);
    }

    #[inline]
    fn key(&mut self, key: &'k [u8]) -> &mut Vec<u8> {
        let is_next = self.last.is_none_or(|last| last < key);
        assert!(is_next, "keys are written in strictly ascending order");
        self.last = Some(key);
        write_bytes(self.out, key);
        self.out
    }
}

/// Writes the elements of a list.
pub struct List<'o> {
    out: &'o mut Vec<u8>,
}

impl List<'_> {
    /// A string.
    #[inline]
    pub fn bytes(&mut self, value: &[u8]) {
        write_bytes(self.out, value);
    }

    /// A string of `length` bytes, which `fill` appends.
    ///
    /// # Panics
    ///
    /// If `fill` appends fewer or more.
    #[inline]
    pub fn bytes_with(&mut self, length: usize, fill: impl FnOnce(&mut Vec<u8>)) {
        write_bytes_with(self.out, length, fill);
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        write_integer(self.out, value);
    }

    /// A value as it is.
    pub fn raw(&mut self, value: Raw<'_>) {
        self.out.extend_from_slice(value.bytes());
    }

    /// A dictionary.
    pub fn dictionary<'i>(&mut self, fill: impl FnOnce(&mut Dictionary<'_, 'i>)) {
        write_dictionary(self.out, fill);
    }

    /// A list.
    pub fn list(&mut self, fill: impl FnOnce(&mut List<'_>)) {
        write_list(self.out, fill);
    }
}

#[inline]
fn write_bytes_with(out: &mut Vec<u8>, length: usize, fill: impl FnOnce(&mut Vec<u8>)) {
    write_decimal(out, length as u64);
    out.push(b':');
    let start = out.len();
    fill(out);
    assert_eq!(out.len() - start, length, "a string is as long as was said");
}

#[inline]
fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    if number < 10 {
        out.push(b'0' + number as u8);
        return;
    }
    // The largest `u64` has 20 digits.
    let mut digits = [0; 20];
    let mut start = digits.len();
    while number > 0 {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[start..]);
}
