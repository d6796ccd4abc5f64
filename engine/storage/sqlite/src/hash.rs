use rusqlite::types::ValueRef;

/// FNV-1a: guards against edits and differences, not against enemies. Typed values are told apart by their types and
/// lengths, so that no two rows run into each other.
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub fn sum(&self) -> u64 {
        self.0
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
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
