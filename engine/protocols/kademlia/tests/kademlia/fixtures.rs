//! Reads what is in `fixtures/kademlia`.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The datagrams and what they say.
pub const MESSAGES: &str = include_str!("../../../../../fixtures/kademlia/messages.json");
/// The datagrams that are refused.
pub const REFUSED: &str = include_str!("../../../../../fixtures/kademlia/refused.json");
/// Bencode, right and wrong.
pub const BENCODE: &str = include_str!("../../../../../fixtures/kademlia/bencode.json");
/// The Bloom filter of BEP 33.
pub const BLOOM: &str = include_str!("../../../../../fixtures/kademlia/bloom.json");
/// The ids of BEP 42.
pub const SECURE_IDS: &str = include_str!("../../../../../fixtures/kademlia/secure_ids.json");
/// The items of BEP 44.
pub const ITEMS: &str = include_str!("../../../../../fixtures/kademlia/items.json");
/// The links of BEP 46.
pub const MAGNETS: &str = include_str!("../../../../../fixtures/kademlia/magnets.json");

/// The cases of a file.
pub fn cases(file: &str) -> Vec<Value> {
    let cases: Vec<Value> = serde_json::from_str(file).expect("the fixture is JSON");
    assert!(!cases.is_empty(), "a fixture with no cases tests nothing");
    cases
}

/// The text of a field.
pub fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().expect("the field is a text")
}

/// Bytes, as text or in hexadecimal digits.
pub fn bytes(value: &Value) -> Vec<u8> {
    match value.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => hex(text(value, "hex")),
    }
}

/// Bytes that are written in hexadecimal digits.
pub fn hex(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("two hexadecimal digits");
    pairs.map(byte).collect()
}

/// The datagram of a case.
pub fn datagram(case: &Value) -> Vec<u8> {
    bytes(&case["datagram"])
}

/// The datagrams of other clients, by name.
pub fn corpus() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../fixtures/kademlia/corpus");
    let files = std::fs::read_dir(folder).expect("the fixtures are there");
    let paths = files.map(|file| file.expect("it is there").path());
    let named = paths.filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".krpc")?;
        Some((name.to_string(), std::fs::read(&path).expect("it is there")))
    });
    let corpus: BTreeMap<String, Vec<u8>> = named.collect();
    assert!(!corpus.is_empty());
    corpus
}
