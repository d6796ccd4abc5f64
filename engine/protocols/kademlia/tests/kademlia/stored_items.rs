//! What a node does with items that are put at it, rule by rule of BEP 44.

use holdfast_kademlia::bencode::{Raw, write_bytes};
use holdfast_kademlia::item::{
    Found, SALT_LIMIT_BYTES, SecretKey, VALUE_LIMIT_BYTES, immutable_target, mutable_target,
};
use holdfast_kademlia::items::{ItemLimits, ItemStore};
use holdfast_kademlia::krpc::{ErrorCode, Item, MutablePut, Put};
use holdfast_kademlia::{Id, Nanos, SWEEP_INTERVAL, StoreMutant};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

const SECOND: Nanos = 1_000_000_000;
const OWN: Id = Id::ZERO;

fn ip(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0xcb00_7100 + n))
}

fn raw(text: &[u8]) -> Raw<'_> {
    Raw::parse(text).expect("it is a value")
}

/// A put that owns what it has.
#[derive(Clone)]
struct Signed {
    key: [u8; 32],
    salt: Vec<u8>,
    sequence: i64,
    signature: [u8; 64],
    cas: Option<i64>,
    value: Vec<u8>,
}

impl Signed {
    fn new(seed: u8, salt: &[u8], sequence: i64, value: &[u8]) -> Signed {
        let secret = SecretKey::from_seed(&[seed; 32]);
        Signed {
            key: *secret.public(),
            salt: salt.to_vec(),
            sequence,
            signature: secret
                .sign(salt, sequence, raw(value))
                .expect("it can be signed"),
            cas: None,
            value: value.to_vec(),
        }
    }

    fn with_cas(self, cas: i64) -> Signed {
        let cas = Some(cas);
        Signed { cas, ..self }
    }

    fn put(&self) -> Put<'_> {
        Put {
            token: b"",
            value: raw(&self.value),
            mutable: Some(MutablePut {
                key: &self.key,
                salt: &self.salt,
                sequence: self.sequence,
                signature: &self.signature,
                cas: self.cas,
            }),
        }
    }

    fn target(&self) -> Id {
        mutable_target(&self.key, &self.salt)
    }
}

fn immutable(value: &[u8]) -> Put<'_> {
    Put {
        token: b"",
        value: raw(value),
        mutable: None,
    }
}

#[derive(Clone, Default)]
struct Node {
    store: ItemStore,
    limits: ItemLimits,
    planted: Option<StoreMutant>,
}

impl Node {
    fn with(planted: Option<StoreMutant>) -> Node {
        Node {
            planted,
            ..Node::default()
        }
    }

    fn put_from(&mut self, now: Nanos, put: &Put<'_>, from: IpAddr) -> Result<Id, ErrorCode> {
        let (limits, planted) = (&self.limits, self.planted);
        self.store.put(now, OWN, put, from, limits, planted)
    }

    fn put(&mut self, now: Nanos, put: &Signed) -> Result<Id, ErrorCode> {
        self.put_from(now, &put.put(), ip(1))
    }

    /// Sequence number and value of what is stored there.
    fn stored(&self, now: Nanos, target: Id) -> Option<(Option<i64>, Vec<u8>)> {
        let item = self.store.get(now, target, None)?;
        let value = item.value.expect("nothing else was asked for");
        Some((item.sequence, value.bytes().to_vec()))
    }
}

/// With the mutant the rule must not hold, or the check is none.
fn holds_unless(mutant: StoreMutant, rule: impl Fn(Option<StoreMutant>) -> bool) {
    assert!(rule(None));
    assert_eq!(rule(Some(mutant)), !cfg!(debug_assertions), "{mutant:?}");
}

#[test]
fn an_immutable_item_is_stored_under_the_hash_of_its_very_bytes() {
    // More than any integer of a program: who decodes and encodes it has another one.
    holds_unless(StoreMutant::ValueReencoded, |planted| {
        let value = b"i340282366920938463463374607431768211456e";
        let mut node = Node::with(planted);
        let target = node.put_from(0, &immutable(value), ip(1));
        assert_eq!(target, Ok(immutable_target(raw(value))));
        let item = node.store.get(0, immutable_target(raw(value)), None);
        let item = item.expect("it is stored");
        assert_eq!(
            (item.key, item.sequence, item.signature),
            (None, None, None)
        );
        let found = Found::verify(&item, immutable_target(raw(value)), b"");
        found == Ok(Found::Immutable(raw(value)))
    });
}

#[test]
fn a_mutable_item_is_stored_under_the_hash_of_key_and_salt() {
    holds_unless(StoreMutant::SaltLeftOut, |planted| {
        let mut node = Node::with(planted);
        let items = [&b""[..], b"a", b"ab"].map(|salt| Signed::new(1, salt, 3, b"5:value"));
        items.iter().all(|item| {
            let is_stored = node.put(0, item) == Ok(item.target());
            let stored = node.store.get(0, item.target(), None);
            is_stored
                && stored
                    .is_some_and(|stored| Found::verify(&stored, item.target(), &item.salt).is_ok())
        })
    });
}

#[test]
fn a_higher_sequence_number_replaces_and_a_lower_one_is_refused() {
    holds_unless(StoreMutant::LastPutWins, |planted| {
        let mut node = Node::with(planted);
        let [old, new] = [4, 5].map(|sequence| Signed::new(1, b"", sequence, b"1:a"));
        assert!(node.put(0, &old).is_ok());
        assert!(node.put(0, &new).is_ok());
        let refused = node.put(0, &old) == Err(ErrorCode::SequenceTooLow);
        refused && node.stored(0, new.target()) == Some((Some(5), b"1:a".to_vec()))
    });
}

#[test]
fn of_two_values_with_one_sequence_number_the_first_stays() {
    let mut node = Node::default();
    let [first, second] = [b"1:a", b"1:b"].map(|value| Signed::new(1, b"", 4, value));
    assert!(node.put(0, &first).is_ok());
    assert_eq!(node.put(0, &second), Err(ErrorCode::SequenceTooLow));
    assert_eq!(
        node.put(0, &second.clone().with_cas(4)),
        Err(ErrorCode::SequenceTooLow)
    );
    let stored = node.stored(0, first.target());
    assert_eq!(stored, Some((Some(4), b"1:a".to_vec())));
}

#[test]
fn cas_must_be_the_very_number_that_is_stored() {
    holds_unless(StoreMutant::CasAtLeast, |planted| {
        let mut node = Node::with(planted);
        let put = |sequence| Signed::new(1, b"", sequence, b"1:a");
        assert!(node.put(0, &put(7)).is_ok());
        let mismatch = Err(ErrorCode::CasMismatch);
        let holds = [0, 6, 8, i64::MAX]
            .into_iter()
            .all(|cas| node.clone().put(0, &put(9).with_cas(cas)) == mismatch);
        // It comes before the sequence number: who swaps has to know that he read something old.
        let is_first = node.put(0, &put(6).with_cas(6)) == mismatch;
        assert!(node.clone().put(0, &put(9).with_cas(7)).is_ok());
        // The same again is no harm, and a lower number is one.
        assert!(node.clone().put(0, &put(7).with_cas(7)).is_ok());
        let low = node.put(0, &put(6).with_cas(7));
        assert_eq!(low, Err(ErrorCode::SequenceTooLow));
        holds && is_first
    });
}

#[test]
fn cas_is_ignored_where_nothing_is_stored() {
    let mut node = Node::default();
    let lifetime = node.limits.lifetime;
    let put = Signed::new(1, b"", 7, b"1:a").with_cas(3);
    assert!(node.put(0, &put).is_ok());
    // Neither does what has expired count, nor its sequence number.
    assert_eq!(node.put(lifetime - 1, &put), Err(ErrorCode::CasMismatch));
    let lower = Signed::new(1, b"", 1, b"1:b");
    assert!(node.put(lifetime, &lower).is_ok());
    let stored = node.stored(lifetime, put.target());
    assert_eq!(stored, Some((Some(1), b"1:b".to_vec())));
}

#[test]
fn a_signature_must_be_right() {
    holds_unless(StoreMutant::SignatureUnchecked, |planted| {
        let good = Signed::new(1, b"salt", 4, b"1:a");
        let other = Signed::new(2, b"salt", 4, b"1:a");
        let changed = [
            Signed {
                sequence: 5,
                ..good.clone()
            },
            Signed {
                value: b"1:b".to_vec(),
                ..good.clone()
            },
            Signed {
                salt: b"salz".to_vec(),
                ..good.clone()
            },
            Signed {
                salt: Vec::new(),
                ..good.clone()
            },
            Signed {
                key: other.key,
                ..good.clone()
            },
            Signed {
                key: [0; 32],
                ..good.clone()
            },
            Signed {
                signature: [0; 64],
                ..good.clone()
            },
        ];
        let refused = Err(ErrorCode::InvalidSignature);
        let on_nothing = changed.iter().all(|put| {
            let mut node = Node::with(planted);
            node.put(0, put) == refused && node.store.is_empty()
        });
        let mut node = Node::with(planted);
        assert!(node.put(0, &good).is_ok());
        let on_something = changed.iter().all(|put| {
            let mut node = node.clone();
            // Another value under the same number is refused before.
            let refused = match put.value == good.value || put.key != good.key {
                true => refused,
                false => Err(ErrorCode::SequenceTooLow),
            };
            node.put(0, put) == refused && node.store.len() == 1
        });
        on_nothing && on_something
    });
}

#[test]
fn a_wrong_signature_does_not_keep_an_item_alive() {
    let mut node = Node::default();
    let lifetime = node.limits.lifetime;
    let good = Signed::new(1, b"", 4, b"1:a");
    assert!(node.put(0, &good).is_ok());
    let mut wrong = good.clone();
    wrong.signature[3] ^= 1;
    assert_eq!(
        node.put(lifetime - 1, &wrong),
        Err(ErrorCode::InvalidSignature)
    );
    assert_eq!(node.stored(lifetime, good.target()), None);
}

#[test]
fn limits_and_form_are_checked_before_anything_is_stored() {
    let text = |bytes: usize| {
        let mut value = Vec::new();
        write_bytes(&mut value, &vec![b'x'; bytes]);
        value
    };
    // `996:` and so many more.
    let (fits, too_long) = (text(VALUE_LIMIT_BYTES - 4), text(VALUE_LIMIT_BYTES - 3));
    let mut node = Node::default();
    assert!(node.put_from(0, &immutable(&fits), ip(1)).is_ok());
    let good = Signed::new(1, &[b's'; SALT_LIMIT_BYTES], 0, &fits);
    assert!(node.put(0, &good).is_ok());
    assert_eq!(
        (node.store.len(), node.store.value_bytes()),
        (2, 2 * VALUE_LIMIT_BYTES)
    );

    let mut node = Node::default();
    let refused = |error: ErrorCode| Err::<Id, _>(error);
    let put = Signed {
        value: too_long.clone(),
        ..good.clone()
    };
    assert_eq!(node.put(0, &put), refused(ErrorCode::ValueTooBig));
    let put = immutable(&too_long);
    assert_eq!(
        node.put_from(0, &put, ip(1)),
        refused(ErrorCode::ValueTooBig)
    );
    let put = Signed {
        salt: vec![b's'; SALT_LIMIT_BYTES + 1],
        ..good.clone()
    };
    assert_eq!(node.put(0, &put), refused(ErrorCode::SaltTooBig));
    let put = Signed {
        sequence: -1,
        ..good.clone()
    };
    assert_eq!(node.put(0, &put), refused(ErrorCode::Protocol));
    for unsorted in [&b"d1:b0:1:a0:e"[..], b"d1:a0:1:a0:e"] {
        let put = Signed {
            value: unsorted.to_vec(),
            ..good.clone()
        };
        assert_eq!(node.put(0, &put), refused(ErrorCode::Protocol));
        let put = immutable(unsorted);
        assert_eq!(node.put_from(0, &put, ip(1)), refused(ErrorCode::Protocol));
    }
    assert!(node.store.is_empty());
    assert_eq!(node.store.next_expiry(), None);
}

#[test]
fn an_item_expires_unless_it_is_put_again() {
    let mut node = Node::default();
    let lifetime = node.limits.lifetime;
    let [mutable, short] = [&b""[..], b"s"].map(|salt| Signed::new(1, salt, 4, b"1:a"));
    let plain = immutable(b"1:p");
    let target = node.put_from(3, &plain, ip(1)).expect("it is stored");
    assert!(node.put(3, &mutable).is_ok());
    assert!(node.put(3, &short).is_ok());
    // Anybody may do so, with the signature that is there.
    let now = lifetime / 2;
    assert!(node.put_from(now, &plain, ip(2)).is_ok());
    assert!(node.put_from(now, &mutable.put(), ip(3)).is_ok());
    assert_eq!(
        node.stored(lifetime + 2, short.target()),
        Some((Some(4), b"1:a".to_vec()))
    );
    assert_eq!(node.stored(lifetime + 3, short.target()), None);
    let next = node.store.next_expiry().expect("there are items");
    assert_eq!(next, lifetime + SWEEP_INTERVAL);
    node.store.expire(next - 1);
    assert_eq!(node.store.len(), 3);
    node.store.expire(next);
    assert_eq!(node.store.len(), 2);
    for target in [target, mutable.target()] {
        assert!(node.stored(now + lifetime - 1, target).is_some());
        assert_eq!(node.stored(now + lifetime, target), None);
    }
    node.store.expire(now + lifetime);
    assert!(node.store.is_empty());
    assert_eq!(node.store.next_expiry(), None);
}

#[test]
fn who_knows_the_sequence_number_gets_nothing_but_it() {
    let mut node = Node::default();
    let put = Signed::new(1, b"", 4, b"1:a");
    assert!(node.put(0, &put).is_ok());
    let get = |known| {
        node.store
            .get(0, put.target(), known)
            .expect("it is stored")
    };
    for known in [4, 5, i64::MAX] {
        let number = Item {
            sequence: Some(4),
            ..Item::default()
        };
        assert_eq!(get(Some(known)), number);
    }
    for known in [None, Some(3), Some(0), Some(-1), Some(i64::MIN)] {
        let whole = Item {
            value: Some(raw(b"1:a")),
            key: Some(&put.key),
            sequence: Some(4),
            signature: Some(&put.signature),
        };
        assert_eq!(get(known), whole);
    }
    // An immutable item has none to be known.
    let target = node
        .put_from(0, &immutable(b"1:p"), ip(1))
        .expect("it is stored");
    let item = node
        .store
        .get(0, target, Some(i64::MAX))
        .expect("it is stored");
    assert_eq!(item.value, Some(raw(b"1:p")));
    assert_eq!(node.store.get(0, Id::MAX, None), None);
}

/// An immutable value whose target begins with that byte.
fn value_at(first: u8, mut n: u32) -> Vec<u8> {
    loop {
        let value = format!("i{n}e").into_bytes();
        if immutable_target(raw(&value)).as_bytes()[0] == first {
            return value;
        }
        n += 1_000;
    }
}

#[test]
fn in_a_full_store_the_farthest_item_of_who_has_most_makes_way() {
    let mut node = Node::default();
    node.limits.items = 6;
    let greedy: Vec<Vec<u8>> = (1..=4).map(|first| value_at(first, 0)).collect();
    for value in &greedy {
        assert!(node.put_from(0, &immutable(value), ip(1)).is_ok());
    }
    let modest = [value_at(0xf0, 0), value_at(0xf1, 0)];
    for (n, value) in modest.iter().enumerate() {
        let from = ip(2 + n as u32);
        assert!(node.put_from(0, &immutable(value), from).is_ok());
    }
    let has = |node: &Node, value: &[u8]| node.stored(0, immutable_target(raw(value))).is_some();
    let next = value_at(0xf2, 0);
    assert!(node.put_from(0, &immutable(&next), ip(9)).is_ok());
    assert!(!has(&node, &greedy[3]) && greedy[..3].iter().all(|value| has(&node, value)));
    assert!(modest.iter().all(|value| has(&node, value)));
    // He who has most gains nothing by more of it.
    let full = Err(ErrorCode::Server);
    assert_eq!(node.put_from(0, &immutable(&greedy[3]), ip(1)), full);
    assert_eq!(node.store.len(), 6);
    // What is stored can be put again, and changed, without room.
    assert!(node.put_from(0, &immutable(&next), ip(1)).is_ok());
    // A wrong signature makes nobody go.
    let mut wrong = Signed::new(1, b"", 1, b"1:a");
    wrong.signature[0] ^= 1;
    let before = node.store.len();
    let refused = Err(ErrorCode::InvalidSignature);
    assert_eq!(node.put_from(0, &wrong.put(), ip(30)), refused);
    assert_eq!(node.store.len(), before);
    assert!(greedy[..3].iter().all(|value| has(&node, value)));
    // What has expired makes way first.
    let late = node.limits.lifetime;
    assert!(node.put_from(late, &immutable(&greedy[3]), ip(1)).is_ok());
    assert_eq!(node.store.len(), 1);
}

#[test]
fn a_store_without_room_refuses() {
    let mut node = Node::default();
    node.limits.items = 0;
    let full = Err(ErrorCode::Server);
    assert_eq!(node.put_from(0, &immutable(b"1:a"), ip(1)), full);
    assert_eq!(node.put(0, &Signed::new(1, b"", 1, b"1:a")), full);
}

#[test]
fn one_attacker_with_close_ids_does_not_push_out_others() {
    let mut node = Node::default();
    node.limits.items = 100;
    let honest: Vec<Vec<u8>> = (0..50).map(|n| format!("i{n}e").into_bytes()).collect();
    for (n, value) in honest.iter().enumerate() {
        let from = ip(n as u32);
        assert!(node.put_from(0, &immutable(value), from).is_ok());
    }
    let attackers = [ip(1_000), ip(1_001), ip(1_002)];
    for n in 0..5_000_u32 {
        let value = format!("i{}e", 1_000_000 + n).into_bytes();
        // Refused or not: both are fine.
        let _ = node.put_from(0, &immutable(&value), attackers[n as usize % 3]);
    }
    assert_eq!(node.store.len(), 100);
    let is_stored = |value: &&Vec<u8>| node.stored(0, immutable_target(raw(value))).is_some();
    assert_eq!(honest.iter().filter(is_stored).count(), 50);
}

#[test]
fn a_store_with_nothing_in_it_is_small() {
    assert!(size_of::<ItemStore>() <= 56, "{}", size_of::<ItemStore>());
}

/// A put of the histories below: key, salt, sequence number, cas, value.
type Step = (Nanos, u8, u8, i64, Option<i64>, u8, u32);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any history leaves what a simple model of BEP 44 has: a register for each key and salt, while there is room.
    #[test]
    fn a_store_is_a_register_for_each_key_and_salt(
        steps in prop::collection::vec(
            (0..4_000 * SECOND, 0_u8..3, 0_u8..2, 0_i64..6, prop::option::of(0_i64..6), 0_u8..2, 0_u32..4),
            1..80,
        ),
    ) {
        let mut node = Node::default();
        let lifetime = node.limits.lifetime;
        let mut model: BTreeMap<Id, (i64, u8, Nanos)> = BTreeMap::new();
        let mut now = 0;
        for (gap, seed, salt, sequence, cas, value, from) in steps as Vec<Step> {
            now += gap;
            let salt = &[salt][..usize::from(salt)];
            let text = [b'1', b':', value];
            let put = Signed { cas, ..Signed::new(seed, salt, sequence, &text) };
            let stored = model.get(&put.target()).copied();
            let stored = stored.filter(|(.., expires)| now < *expires);
            let expected = match stored {
                Some((current, ..)) if cas.is_some_and(|cas| cas != current) => {
                    Err(ErrorCode::CasMismatch)
                }
                Some((current, present, _))
                    if sequence < current || sequence == current && value != present =>
                {
                    Err(ErrorCode::SequenceTooLow)
                }
                _ => Ok(put.target()),
            };
            if expected.is_ok() {
                model.insert(put.target(), (sequence, value, now + lifetime));
            }
            prop_assert_eq!(node.put_from(now, &put.put(), ip(from)), expected);
            if value == 1 {
                node.store.expire(now);
            }
            for (target, (sequence, value, expires)) in &model {
                let live = (now < *expires).then(|| (Some(*sequence), vec![b'1', b':', *value]));
                prop_assert_eq!(node.stored(now, *target), live);
            }
            prop_assert!(node.store.len() <= model.len());
        }
    }

    /// However much is put by whom, there are no more items than there is room for, and what was just stored is there.
    #[test]
    fn a_store_is_bounded(
        puts in prop::collection::vec((0_u32..60, 0_u32..8, 0..600 * SECOND), 1..200),
    ) {
        let mut node = Node::default();
        node.limits.items = 10;
        let mut now = 0;
        for (n, from, gap) in puts {
            now += gap;
            let value = format!("i{n}e").into_bytes();
            match node.put_from(now, &immutable(&value), ip(from)) {
                Ok(target) => prop_assert!(node.stored(now, target).is_some()),
                Err(error) => {
                    prop_assert_eq!(error, ErrorCode::Server);
                    prop_assert_eq!(node.store.len(), 10);
                }
            }
            prop_assert!(node.store.len() <= 10);
        }
        while let Some(next) = node.store.next_expiry() {
            node.store.expire(next);
        }
        prop_assert!(node.store.is_empty());
    }
}
