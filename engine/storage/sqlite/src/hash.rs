use fnv::FnvHasher;
use rusqlite::types::ValueRef;
use std::hash::Hasher as _;

/// FNV-1a: guards against edits and differences, not against enemies. Typed values are told apart by their types and
/// lengths, so that no two rows run into each other.
#[derive(Default)]
pub(crate) struct Fnv(FnvHasher);

impl Fnv {
    pub fn sum(&self) -> u64 {
        self.0.finish()
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.bytes(&[tag]);
        self.bytes(&(bytes.len() as u64).to_le_bytes());
        self.bytes(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.tagged(3, text.as_bytes());
    }

    pub fn value(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.tagged(0, &[]),
            ValueRef::Integer(number) => self.tagged(1, &number.to_le_bytes()),
            ValueRef::Real(number) => self.tagged(2, &number.to_bits().to_le_bytes()),
            ValueRef::Text(text) => self.tagged(3, text),
            ValueRef::Blob(bytes) => self.tagged(4, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checksums of schema steps are in databases.
    #[test]
    fn sums_never_change() {
        let mut hash = Fnv::default();
        hash.bytes(b"foobar");
        // The one of FNV's published test vectors.
        assert_eq!(hash.sum(), 0x8594_4171_f739_67e8);
        let mut hash = Fnv::default();
        hash.text("foobar");
        assert_eq!(hash.sum(), 0xd508_2d05_3855_bf09);
    }

    #[test]
    fn values_do_not_run_into_each_other() {
        let sum = |values: &[ValueRef<'_>]| {
            let mut hash = Fnv::default();
            values.iter().for_each(|value| hash.value(*value));
            hash.sum()
        };
        use ValueRef::{Blob, Integer, Null, Real, Text};
        assert_ne!(
            sum(&[Text(b"ab"), Text(b"c")]),
            sum(&[Text(b"a"), Text(b"bc")])
        );
        assert_ne!(sum(&[Text(b"a")]), sum(&[Blob(b"a")]));
        assert_ne!(sum(&[Integer(0)]), sum(&[Real(0.0)]));
        assert_ne!(sum(&[Null]), sum(&[Text(b"")]));
        assert_ne!(sum(&[]), sum(&[Null]));
    }
}
