use std::{borrow::Cow, ops::Range};

/// The tag that is being read. Its buffers are used again for the next one.
#[derive(Default)]
pub struct Tag {
    pub name: Vec<u8>,
    pub is_end: bool,
    pub is_self_closing: bool,
    /// One of its attributes is too long.
    pub is_cut: bool,
    /// It has more attributes than are looked at.
    pub has_more: bool,
    /// Names and values, one behind the other.
    bytes: Vec<u8>,
    attributes: Vec<Attribute>,
    /// Attributes beyond the limit are not kept.
    is_skipping: bool,
}

struct Attribute {
    start: usize,
    value: usize,
    end: usize,
}

impl Tag {
    pub fn begin(&mut self, is_end: bool) {
        self.name.clear();
        self.bytes.clear();
        self.attributes.clear();
        self.is_end = is_end;
        self.is_self_closing = false;
        self.is_cut = false;
        self.has_more = false;
        self.is_skipping = false;
    }

    pub fn begin_attribute(&mut self, limit: usize) {
        self.is_skipping = self.attributes.len() >= limit;
        if self.is_skipping {
            self.has_more = true;
            return;
        }
        let at = self.bytes.len();
        self.attributes.push(Attribute {
            start: at,
            value: at,
            end: at,
        });
    }

    pub fn push_name(&mut self, piece: &[u8], limit: usize) {
        self.push(piece, limit, |attribute| attribute.value = attribute.end);
    }

    pub fn push_value(&mut self, piece: &[u8], limit: usize) {
        self.push(piece, limit, |_| {});
    }

    fn push(&mut self, piece: &[u8], limit: usize, then: impl FnOnce(&mut Attribute)) {
        let Some(attribute) = self.attributes.last_mut() else {
            return;
        };
        if self.is_skipping {
            return;
        }
        if attribute.end - attribute.start + piece.len() > limit {
            self.is_cut = true;
            return;
        }
        self.bytes.extend_from_slice(piece);
        attribute.end = self.bytes.len();
        then(attribute);
    }

    /// The value of an attribute; the first of a name counts.
    pub fn get(&self, name: &[u8]) -> Option<Cow<'_, str>> {
        self.attributes()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| self.value(value))
    }

    /// Whether it has an attribute.
    pub fn has(&self, name: &[u8]) -> bool {
        self.attributes().any(|(found, _)| found == name)
    }

    /// Names and places of values.
    pub fn attributes(&self) -> impl Iterator<Item = (&[u8], Range<usize>)> {
        self.attributes
            .iter()
            .map(|a| (&self.bytes[a.start..a.value], a.value..a.end))
    }

    /// A value of [`Tag::attributes`].
    pub fn value(&self, range: Range<usize>) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes[range])
    }
}
