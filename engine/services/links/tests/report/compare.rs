//! Comparisons of two runs.

use crate::sample;
use holdfast_links::report::{
    Change, Comparison, ComparisonCounts, ComparisonError, Key, Merge, Side, Step,
};
use holdfast_links::{LinkResult, Verdict};
use holdfast_web::LinkKind;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn link(page: &str, target: &str, verdict: Option<Verdict>) -> LinkResult {
    let mut link = sample::link(1, Some(page), target);
    link.verdict = verdict;
    link
}

fn changes(before: &[LinkResult], after: &[LinkResult]) -> Vec<(String, Change)> {
    let compared = Comparison::new(before.to_vec(), after.to_vec());
    compared
        .map(|compared| {
            let compared = compared.expect("sorted");
            let one = compared.after.or(compared.before).expect("a side");
            (one.target, compared.change)
        })
        .collect()
}

#[test]
fn each_change() {
    use Verdict::*;
    let cases = [
        (Some(Alive), Some(Dead), Some(Change::NewlyBroken)),
        (Some(Blocked), Some(Dead), Some(Change::NewlyBroken)),
        (None, Some(TlsProblem), Some(Change::NewlyBroken)),
        (Some(Dead), Some(Soft404), Some(Change::StillBroken)),
        (Some(Dead), Some(Alive), Some(Change::Fixed)),
        (Some(Dead), Some(Moved), Some(Change::Fixed)),
        (Some(Dead), Some(Throttled), Some(Change::Unclear)),
        (Some(Dead), Some(Unverifiable), Some(Change::Unclear)),
        (Some(Dead), None, Some(Change::Unclear)),
        (Some(Alive), Some(Alive), None),
        (Some(Alive), Some(Flaky), None),
        (Some(Flaky), None, None),
    ];
    for (before, after, change) in cases {
        let found = changes(&[link("/", "t", before)], &[link("/", "t", after)]);
        let expected = change.map(|change| ("t".to_owned(), change));
        assert_eq!(found, Vec::from_iter(expected), "{before:?} {after:?}");
    }
}

#[test]
fn links_that_came_and_went() {
    let before = [
        link("/", "a", Some(Verdict::Dead)),
        link("/", "b", Some(Verdict::Alive)),
    ];
    let after = [
        link("/", "c", Some(Verdict::Alive)),
        link("/", "d", Some(Verdict::Dead)),
    ];
    let expected = [
        ("a".to_owned(), Change::Fixed),
        ("d".to_owned(), Change::NewlyBroken),
    ];
    assert_eq!(changes(&before, &after), expected);
    let mut counts = ComparisonCounts::default();
    for (_, change) in expected {
        counts.add(change);
    }
    assert_eq!((counts.newly_broken, counts.fixed), (1, 1));
    assert_eq!((counts.still_broken, counts.unclear), (0, 0));
}

#[test]
fn start_pages_come_first_and_kinds_differ() {
    let start = sample::link(1, None, "https://z.example/");
    let anchor = sample::link(2, Some("/"), "https://a.example/");
    let mut image = anchor.clone();
    image.kind = LinkKind::Image;
    assert!(Key::of(&start) < Key::of(&anchor));
    assert!(Key::of(&anchor) < Key::of(&image));
    image.verdict = Some(Verdict::Dead);
    let found = changes(std::slice::from_ref(&image), &[anchor, image.clone()]);
    assert_eq!(
        found,
        [("https://a.example/".to_owned(), Change::StillBroken)]
    );
}

#[test]
fn one_broken_place_breaks_a_link() {
    let alive = link("/", "t", Some(Verdict::Alive));
    let mut dead = link("/", "t", Some(Verdict::Dead));
    dead.line = 99;
    let after = [alive.clone(), dead.clone(), alive.clone()];
    let compared: Vec<_> = Comparison::new([alive], after).collect();
    let [Ok(one)] = &compared[..] else {
        panic!("{compared:?}")
    };
    assert_eq!(one.change, Change::NewlyBroken);
    assert_eq!(one.after.as_ref(), Some(&dead));
}

#[test]
fn unsorted_results_are_an_error_and_the_end() {
    let sorted = [link("/", "a", None), link("/", "b", None)];
    let unsorted = [sorted[1].clone(), sorted[0].clone()];
    let mut compared = Comparison::new(sorted, unsorted);
    let error = ComparisonError::OutOfOrder { side: Side::After };
    assert_eq!(compared.next(), Some(Err(error)));
    assert_eq!(compared.next(), None);
    assert_eq!(
        error.to_string(),
        "the results of the later run are not sorted"
    );
}

#[test]
fn a_merge_takes_only_what_it_asks_for() {
    let mut merge = Merge::new();
    assert_eq!(merge.step(), Step::Need(Side::Before));
    assert_eq!(merge.feed(Side::Before, None), Ok(()));
    let late = Some(link("/", "a", None));
    assert_eq!(
        merge.feed(Side::Before, late.clone()),
        Err(ComparisonError::NotAsked)
    );
    assert_eq!(merge.step(), Step::Need(Side::After));
    assert_eq!(merge.feed(Side::After, late.clone()), Ok(()));
    assert_eq!(merge.step(), Step::Need(Side::After));
    assert_eq!(merge.feed(Side::After, None), Ok(()));
    assert_eq!(merge.step(), Step::Done);
    assert_eq!(
        merge.feed(Side::After, late),
        Err(ComparisonError::NotAsked)
    );
    assert_eq!(merge.step(), Step::Done);
}

fn run() -> impl Strategy<Value = Vec<LinkResult>> {
    let verdict = prop::option::of(prop::sample::select(Verdict::ALL.to_vec()));
    let one =
        ("[ab]?", "[a-d]", verdict, any::<bool>()).prop_map(|(page, target, verdict, is_image)| {
            let mut link = link(&page, &target, verdict);
            link.source = (!page.is_empty()).then_some(page);
            if is_image {
                link.kind = LinkKind::Image;
            }
            link
        });
    prop::collection::vec(one, 0..20).prop_map(|mut links| {
        links.sort_by_key(Key::of);
        links
    })
}

/// The set of broken keys, and for every key whether all its places work.
fn digest(run: &[LinkResult]) -> (BTreeSet<Key>, BTreeMap<Key, bool>) {
    let broken = run
        .iter()
        .filter(|link| link.verdict.is_some_and(Verdict::is_broken));
    let mut works = BTreeMap::new();
    for link in run {
        let fine = matches!(link.verdict, Some(Verdict::Alive | Verdict::Moved));
        let all = works.entry(Key::of(link)).or_insert(true);
        *all &= fine;
    }
    (broken.map(Key::of).collect(), works)
}

proptest! {
    #[test]
    fn it_is_what_sets_say(before in run(), after in run()) {
        let (was, _) = digest(&before);
        let (is, works) = digest(&after);
        let mut expected = BTreeMap::new();
        for key in was.union(&is) {
            let change = match (was.contains(key), is.contains(key), works.get(key)) {
                (true, true, _) => Change::StillBroken,
                (false, _, _) => Change::NewlyBroken,
                (true, false, None | Some(true)) => Change::Fixed,
                (true, false, Some(false)) => Change::Unclear,
            };
            expected.insert(key.clone(), change);
        }
        let mut found = Vec::new();
        for compared in Comparison::new(before, after) {
            let compared = compared.unwrap();
            let keys: Vec<Key> = compared.before.iter().chain(&compared.after).map(Key::of).collect();
            prop_assert!(keys.iter().all(|key| *key == keys[0]));
            found.push((keys[0].clone(), compared.change));
        }
        prop_assert!(found.is_sorted());
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
}
