//! Ids and distances, against arithmetic that is done bit by bit.

use holdfast_kademlia::{Distance, Id};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn ids() -> impl Strategy<Value = Id> {
    any::<[u8; Id::LEN]>().prop_map(Id::new)
}

fn bits(id: Id) -> Vec<bool> {
    (0..Id::BITS).map(|i| id.bit(i)).collect()
}

#[test]
fn the_first_bit_is_the_most_significant_one() {
    let mut bytes = [0; Id::LEN];
    bytes[0] = 0x80;
    bytes[19] = 0x01;
    let id = Id::new(bytes);
    assert!(id.bit(0) && id.bit(159));
    assert_eq!(bits(id).iter().filter(|bit| **bit).count(), 2);
    assert_eq!(Id::ZERO.shared_bits(id), 0);
    assert_eq!(Id::ZERO.shared_bits(Id::ZERO.with_flipped(159)), 159);
    assert_eq!(Id::ZERO.shared_bits(Id::ZERO), 160);
    assert_eq!(Id::ZERO.distance(Id::MAX), Distance::MAX);
    assert!(Distance::MAX.fraction() > 0.999_999 && Distance::MAX.fraction() < 1.0);
    assert_eq!(Id::ZERO.distance(id).fraction(), 0.5);
}

#[test]
fn a_text_of_forty_digits_is_an_id() {
    let text = "0123456789abcdef0123456789ABCDEF01234567";
    let id: Id = text.parse().expect("it is an id");
    assert_eq!(id.to_string(), text.to_lowercase());
    assert_eq!(serde_json::to_string(&id).ok(), Some(format!("\"{id}\"")));
    assert_eq!(serde_json::from_str(&format!("\"{id}\"")).ok(), Some(id));
    for wrong in [
        "",
        &text[1..],
        &format!("{text}0"),
        &text.replace('a', "g"),
        &text.replace("01", "+1"),
    ] {
        assert!(wrong.parse::<Id>().is_err(), "{wrong}");
    }
    // As many bytes, but not as many characters.
    assert!("é".repeat(20).parse::<Id>().is_err());
}

#[test]
fn an_id_takes_twenty_bytes_and_a_contact_twenty_six() {
    assert_eq!(size_of::<Id>(), 20);
    assert_eq!(size_of::<holdfast_kademlia::krpc::ContactV4>(), 26);
}

proptest! {
    #[test]
    fn order_and_distance_are_those_of_numbers(a in ids(), b in ids(), shared in 0..=160_u32) {
        // Such that they share a beginning.
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(shared));
        let b = if shared == 160 { a } else { a.random_with_prefix(shared, &mut rng).distance(b).from(b) };
        let xor: Vec<bool> = bits(a).iter().zip(bits(b)).map(|(a, b)| *a != b).collect();
        prop_assert_eq!(a.cmp(&b), a.as_bytes().cmp(b.as_bytes()));
        let distance = a.distance(b);
        prop_assert_eq!(distance, b.distance(a));
        prop_assert_eq!(bits(distance.from(Id::ZERO)), xor.clone());
        prop_assert_eq!(distance.from(a), b);
        let first = xor.iter().position(|bit| *bit).unwrap_or(160);
        prop_assert_eq!(distance.leading_zeros() as usize, first);
        prop_assert!(shared <= a.shared_bits(b));
    }

    #[test]
    fn of_two_ids_the_closer_one_is_the_one_that_differs_later(target in ids(), a in ids(), b in ids()) {
        let by_bits = bits(target).iter().zip(bits(a)).zip(bits(b))
            .find_map(|((t, a), b)| (a != b).then(|| (*t != a).cmp(&(*t != b))))
            .unwrap_or(std::cmp::Ordering::Equal);
        prop_assert_eq!(target.distance(a).cmp(&target.distance(b)), by_bits);
    }

    #[test]
    fn random_ids_share_what_they_are_asked_to(id in ids(), shared in 0..200_u32, seed in any::<u64>()) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        prop_assert!(id.random_with_prefix(shared, &mut rng).shared_bits(id) >= shared.min(160));
        let at_depth = id.random_at_depth(shared, &mut rng).map(|other| other.shared_bits(id));
        prop_assert_eq!(at_depth, (shared < 160).then_some(shared));
    }
}

#[test]
fn bits_behind_a_prefix_are_random() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for prefix in [0, 3, 8, 13, 150] {
        let ids: Vec<Id> = (0..64)
            .map(|_| Id::ZERO.random_with_prefix(prefix, &mut rng))
            .collect();
        for i in 0..160 {
            let ones = ids.iter().filter(|id| id.bit(i)).count();
            match i < prefix {
                true => assert_eq!(ones, 0, "bit {i} of {prefix}"),
                false => assert!((8..56).contains(&ones), "bit {i} of {prefix}: {ones} of 64"),
            }
        }
    }
}
