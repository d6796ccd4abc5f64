//! Write tokens, rule by rule.

use holdfast_kademlia::token::{TOKEN_LEN, TOKEN_PERIOD, Tokens};
use holdfast_kademlia::{Id, Nanos, StoreMutant};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::net::{IpAddr, Ipv4Addr};

const ID: Id = Id::new([7; 20]);

fn tokens(seed: u64) -> Tokens {
    Tokens::new(&mut ChaCha8Rng::seed_from_u64(seed))
}

fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, last))
}

/// Five minutes and a half after the start: the second period.
const NOW: Nanos = TOKEN_PERIOD + TOKEN_PERIOD / 10;

fn is_bound_to_the_address(planted: Option<StoreMutant>) -> bool {
    let tokens = tokens(1);
    let token = tokens.issue(NOW, ip(1), ID);
    tokens.check(NOW, ip(1), ID, &token, planted) && !tokens.check(NOW, ip(2), ID, &token, planted)
}

fn is_good_for_five_minutes_at_least(planted: Option<StoreMutant>) -> bool {
    let tokens = tokens(1);
    let token = tokens.issue(NOW, ip(1), ID);
    (0..=TOKEN_PERIOD)
        .step_by(TOKEN_PERIOD as usize / 20)
        .all(|age| tokens.check(NOW + age, ip(1), ID, &token, planted))
}

#[test]
fn a_token_is_bound_to_the_address() {
    assert!(is_bound_to_the_address(None));
    let mutant = Some(StoreMutant::TokenOfAnyAddress);
    assert_eq!(is_bound_to_the_address(mutant), !cfg!(debug_assertions));
}

#[test]
fn a_token_is_good_for_five_to_ten_minutes() {
    assert!(is_good_for_five_minutes_at_least(None));
    let mutant = Some(StoreMutant::OldTokenRefused);
    let holds = is_good_for_five_minutes_at_least(mutant);
    assert_eq!(holds, !cfg!(debug_assertions));

    let tokens = tokens(1);
    for issued in [0, 1, TOKEN_PERIOD - 1, TOKEN_PERIOD, NOW] {
        let token = tokens.issue(issued, ip(1), ID);
        let end = (issued / TOKEN_PERIOD + 2) * TOKEN_PERIOD;
        assert!(tokens.check(end - 1, ip(1), ID, &token, None), "{issued}");
        for late in [end, end + TOKEN_PERIOD, end + 1_000 * TOKEN_PERIOD] {
            assert!(!tokens.check(late, ip(1), ID, &token, None), "{issued}");
        }
    }
    // At the end of all time there is no overflow.
    let token = tokens.issue(Nanos::MAX, ip(1), ID);
    assert!(tokens.check(Nanos::MAX, ip(1), ID, &token, None));
}

#[test]
fn a_token_is_bound_to_what_was_asked_for_and_to_the_secret() {
    let given = tokens(1);
    let token = given.issue(NOW, ip(1), ID);
    assert!(!given.check(NOW, ip(1), Id::ZERO, &token, None));
    assert!(!tokens(2).check(NOW, ip(1), ID, &token, None));
    assert_eq!(tokens(1).issue(NOW, ip(1), ID), token);
    // Not yet given.
    let later = given.issue(NOW + TOKEN_PERIOD, ip(1), ID);
    assert!(!given.check(NOW, ip(1), ID, &later, None));
}

#[test]
fn every_byte_of_a_token_counts() {
    let tokens = tokens(3);
    let token = tokens.issue(NOW, ip(1), ID);
    for bit in 0..8 * TOKEN_LEN {
        let mut wrong = token;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(!tokens.check(NOW, ip(1), ID, &wrong, None), "bit {bit}");
    }
    let mut longer = token.to_vec();
    longer.push(0);
    for wrong in [&b""[..], &token[..7], &longer] {
        assert!(!tokens.check(NOW, ip(1), ID, wrong, None));
    }
}

#[test]
fn an_address_has_one_token_in_whatever_form_it_is_shown() {
    let tokens = tokens(4);
    let mapped = Ipv4Addr::new(203, 0, 113, 1).to_ipv6_mapped();
    let token = tokens.issue(NOW, IpAddr::V6(mapped), ID);
    assert_eq!(token, tokens.issue(NOW, ip(1), ID));
    // In IPv6 it is the whole address that counts.
    let [a, b] = ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse::<IpAddr>().expect("an address"));
    assert_ne!(tokens.issue(NOW, a, ID), tokens.issue(NOW, b, ID));
}

#[test]
fn a_secret_is_not_shown() {
    assert_eq!(format!("{:?}", tokens(5)), "Tokens(..)");
}
