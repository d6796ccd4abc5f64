//! Bencode: what is accepted and refused, the limits, and agreement with another reader.

use crate::fixtures;
use crate::tree::Tree;
use bendy::decoding::{Decoder as Bendy, Object};
use holdfast_kademlia::bencode::{
    DEPTH_LIMIT, Decoder, ELEMENT_LIMIT, ErrorKind, Raw, Value, write_dictionary, write_integer,
    write_list,
};
use proptest::prelude::*;
use serde_json::Value as Json;

fn cases(kind: &str) -> Vec<Json> {
    let file: Json = serde_json::from_str(fixtures::BENCODE).expect("the fixture is JSON");
    let cases = file[kind].as_array().expect("the fixture has that list");
    assert!(!cases.is_empty());
    cases.clone()
}

fn kind_of(bytes: &[u8]) -> ErrorKind {
    Raw::parse(bytes).expect_err("it is refused").kind
}

#[test]
fn what_is_wellformed_is_read_whole_and_known_for_canonical() {
    for (kind, is_canonical) in [("canonical", true), ("accepted", false)] {
        for case in cases(kind) {
            let text = case.as_str().expect("a text").as_bytes();
            let raw = Raw::parse(text).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(raw.bytes(), text);
            assert_eq!(raw.is_canonical(), is_canonical, "{case}");
        }
    }
}

#[test]
fn what_is_not_is_refused_with_its_place() {
    for case in cases("refused") {
        let (text, error) = (case[0].as_str(), case[1].as_str());
        let refused = Raw::parse(text.expect("a text").as_bytes()).expect_err("it is refused");
        assert_eq!(refused.to_string(), error.expect("a text"), "{case}");
    }
}

#[test]
fn integers_of_any_size_are_read_and_those_that_fit_are_known() {
    let read = |text: &str| match Decoder::new(text.as_bytes()).value() {
        Ok(Value::Integer(integer)) => integer.to_i64(),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(read("i0e"), Some(0));
    assert_eq!(read("i-42e"), Some(-42));
    assert_eq!(read(&format!("i{}e", i64::MAX)), Some(i64::MAX));
    assert_eq!(read(&format!("i{}e", i64::MIN)), Some(i64::MIN));
    assert_eq!(read("i9223372036854775808e"), None);
    assert_eq!(read("i-9223372036854775809e"), None);
    assert_eq!(read(&format!("i1{}e", "0".repeat(1_000))), None);
}

#[test]
fn levels_are_limited_and_do_not_nest_calls() {
    let nested = |levels: usize| [b"l".repeat(levels), b"e".repeat(levels)].concat();
    assert!(Raw::parse(&nested(DEPTH_LIMIT)).is_ok());
    assert_eq!(kind_of(&nested(DEPTH_LIMIT + 1)), ErrorKind::TooDeep);
    assert_eq!(kind_of(&nested(1 << 20)), ErrorKind::TooDeep);
    assert_eq!(kind_of(&b"d1:a".repeat(1 << 20)), ErrorKind::TooDeep);
    // Levels that were left count no more.
    let wide = [
        b"l".to_vec(),
        nested(DEPTH_LIMIT - 1).repeat(2),
        b"e".to_vec(),
    ]
    .concat();
    assert!(Raw::parse(&wide).is_ok());
}

#[test]
fn elements_are_limited() {
    let list = |elements: usize| [b"l".to_vec(), b"0:".repeat(elements), b"e".to_vec()].concat();
    // The list is an element too.
    assert!(Raw::parse(&list(ELEMENT_LIMIT - 1)).is_ok());
    let error = Raw::parse(&list(ELEMENT_LIMIT)).expect_err("it is refused");
    assert_eq!(error.kind, ErrorKind::TooManyElements);
    assert_eq!(error.offset, 1 + 2 * (ELEMENT_LIMIT - 1));
}

#[test]
fn a_dictionary_and_a_list_are_read_piece_by_piece() {
    let mut decoder = Decoder::new(b"d1:ali1e3:xyzd1:kleee1:bi7ee");
    decoder.dictionary().expect("a dictionary");
    assert_eq!(decoder.key(), Ok(Some(&b"a"[..])));
    decoder.list().expect("a list");
    assert!(matches!(decoder.element(), Ok(Some(Value::Integer(_)))));
    assert_eq!(decoder.element(), Ok(Some(Value::Bytes(b"xyz"))));
    match decoder.element() {
        Ok(Some(Value::Dictionary(raw))) => assert_eq!(raw.bytes(), b"d1:klee"),
        other => panic!("{other:?}"),
    }
    assert_eq!(decoder.element(), Ok(None));
    assert_eq!(decoder.key(), Ok(Some(&b"b"[..])));
    assert_eq!(decoder.raw().map(Raw::bytes), Ok(&b"i7e"[..]));
    assert_eq!(decoder.key(), Ok(None));
    assert_eq!(decoder.finish(), Ok(()));
    let wrong = Decoder::new(b"le").dictionary().expect_err("it is a list");
    assert_eq!(wrong.kind, ErrorKind::WrongType("dictionary"));
}

#[test]
#[should_panic(expected = "strictly ascending")]
fn keys_out_of_order_are_not_written() {
    write_dictionary(&mut Vec::new(), |d| {
        d.integer(b"b", 1);
        d.integer(b"a", 1);
    });
}

fn trees() -> impl Strategy<Value = Tree> {
    let short = || prop::collection::vec(any::<u8>(), 0..12);
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| Tree::Integer(number.to_string())),
        (-20..20_i64).prop_map(|number| Tree::Integer(number.to_string())),
        short().prop_map(Tree::Bytes),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let entries = prop::collection::btree_map(short(), inner.clone(), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Tree::List),
            entries.prop_map(|entries| Tree::Dictionary(entries.into_iter().collect())),
        ]
    })
}

fn write(tree: &Tree, out: &mut Vec<u8>) {
    match tree {
        Tree::Integer(digits) => write_integer(out, digits.parse().expect("it fits")),
        Tree::Bytes(bytes) => holdfast_kademlia::bencode::write_bytes(out, bytes),
        Tree::List(items) => write_list(out, |list| {
            for item in items {
                let mut bytes = Vec::new();
                write(item, &mut bytes);
                list.raw(Raw::parse(&bytes).expect("what was written is read"));
            }
        }),
        Tree::Dictionary(entries) => write_dictionary(out, |dictionary| {
            for (key, value) in entries {
                let mut bytes = Vec::new();
                write(value, &mut bytes);
                dictionary.raw(key, Raw::parse(&bytes).expect("what was written is read"));
            }
        }),
    }
}

/// What the crate `bendy` reads, which takes canonical bencode alone.
fn theirs(bytes: &[u8]) -> Option<Tree> {
    fn tree(object: Object<'_, '_>) -> Option<Tree> {
        match object {
            Object::Integer(digits) => Some(Tree::Integer(digits.to_string())),
            Object::Bytes(bytes) => Some(Tree::Bytes(bytes.to_vec())),
            Object::List(mut list) => {
                let mut items = Vec::new();
                while let Some(object) = list.next_object().ok()? {
                    items.push(tree(object)?);
                }
                Some(Tree::List(items))
            }
            Object::Dict(mut dict) => {
                let mut entries = Vec::new();
                while let Some((key, object)) = dict.next_pair().ok()? {
                    entries.push((key.to_vec(), tree(object)?));
                }
                Some(Tree::Dictionary(entries))
            }
        }
    }
    let mut bendy = Bendy::new(bytes);
    let tree = tree(bendy.next_object().ok()??)?;
    // Nothing must follow.
    matches!(bendy.next_object(), Ok(None)).then_some(tree)
}

/// Bytes that are often nearly bencode.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "i",
        "e",
        "l",
        "d",
        "0:",
        "1:",
        "1:a",
        "2:ab",
        "1:b",
        "i0e",
        "i1e",
        "i-1e",
        "i-0e",
        "i01e",
        "01:a",
        "-",
        ":",
        "9",
        "le",
        "de",
        "20:",
        "i99999999999999999999e",
    ]);
    prop::collection::vec(pieces, 0..16).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_written_is_read_again(tree in trees()) {
        let mut bytes = Vec::new();
        write(&tree, &mut bytes);
        let raw = Raw::parse(&bytes).expect("what was written is read");
        prop_assert!(raw.is_canonical());
        prop_assert_eq!(Tree::of(raw.decoder().value().expect("it was read before")), tree.clone());
        prop_assert_eq!(theirs(&bytes), Some(tree));
    }

    #[test]
    fn both_readers_agree_on_canonical_bencode(bytes in nearly()) {
        let raw = Raw::parse(&bytes).ok().filter(|raw| raw.is_canonical());
        let read = raw.and_then(|raw| raw.decoder().value().ok());
        prop_assert_eq!(read.map(Tree::of), theirs(&bytes));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(raw) = Raw::parse(&bytes) {
            prop_assert_eq!(raw.bytes(), &bytes[..]);
        }
    }

    #[test]
    fn a_part_of_a_value_is_no_value(tree in trees(), part in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        write(&tree, &mut bytes);
        let cut = part.index(bytes.len());
        prop_assert!(Raw::parse(&bytes[..cut]).is_err());
    }
}
