//! Bencode as a tree, which tests change and compare.

use holdfast_kademlia::bencode::{Raw, Value};

/// A value. Integers are digits, since they have any size; entries are in the order in which they stood.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// The digits of an integer.
    Integer(String),
    /// A string.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Tree>),
    /// A dictionary.
    Dictionary(Vec<(Vec<u8>, Tree)>),
}

impl Tree {
    /// The tree of a value.
    pub fn of(value: Value<'_>) -> Tree {
        match value {
            Value::Integer(integer) => {
                Tree::Integer(String::from_utf8_lossy(integer.digits()).into_owned())
            }
            Value::Bytes(bytes) => Tree::Bytes(bytes.to_vec()),
            Value::List(raw) => {
                let mut decoder = raw.decoder();
                decoder.list().expect("it is a list");
                let next = || decoder.element().expect("it is well-formed").map(Tree::of);
                Tree::List(std::iter::from_fn(next).collect())
            }
            Value::Dictionary(raw) => {
                let mut decoder = raw.decoder();
                decoder.dictionary().expect("it is a dictionary");
                let next = || {
                    let key = decoder.key().expect("it is well-formed")?;
                    let value = decoder.value().expect("it is well-formed");
                    Some((key.to_vec(), Tree::of(value)))
                };
                Tree::Dictionary(std::iter::from_fn(next).collect())
            }
        }
    }

    /// The tree of what is one value.
    pub fn parse(bytes: &[u8]) -> Option<Tree> {
        let raw = Raw::parse(bytes).ok()?;
        raw.decoder().value().ok().map(Tree::of)
    }

    /// Writes it as it is, right or wrong, without the crate's writer.
    pub fn write(&self, out: &mut Vec<u8>) {
        let string = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
            out.extend_from_slice(bytes);
        };
        match self {
            Tree::Integer(digits) => out.extend_from_slice(format!("i{digits}e").as_bytes()),
            Tree::Bytes(bytes) => string(out, bytes),
            Tree::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.write(out));
                out.push(b'e');
            }
            Tree::Dictionary(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    string(out, key);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }
}
