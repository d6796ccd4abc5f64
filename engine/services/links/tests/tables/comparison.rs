//! What changed between two runs: the counts are those that both runs' results tell, and what is newly broken is the
//! same for the counts and for the list.

use crate::world::{Answer, Web, World, run};
use holdfast_links::{
    Command, JobId, JobOptions, LinkResult, NewJob, Status, Verdict,
    query::{self, Filter},
    report::{Comparison, ComparisonCounts, NotCompared},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::collections::{BTreeMap, BTreeSet};

const START: &str = "http://site.test/";

fn begin(world: &mut World<'_>) -> JobId {
    let options = JobOptions {
        sitemaps: false,
        ..JobOptions::default()
    };
    let new = NewJob {
        start_urls: vec![START.into()],
        options,
        ..NewJob::default()
    };
    world.job_of(&Command::Create(new)).id
}

/// A whole run.
fn check(world: &mut World<'_>, web: &Web) -> JobId {
    let id = begin(world);
    world.perform_all(web, |_| 0);
    assert!(world.job(id).status.has_ended());
    id
}

fn page(links: &[&str]) -> Answer {
    Answer::Page(links.iter().map(|link| (*link).to_owned()).collect())
}

fn web(answers: &[(&str, Answer)]) -> Web {
    let answers = answers.iter();
    answers
        .map(|(url, a)| ((*url).to_owned(), a.clone()))
        .collect()
}

fn compared(world: &mut World<'_>, id: JobId) -> Option<Comparison> {
    world.read(|reader| query::comparison(reader, id))
}

/// Newly broken, still broken, fixed, unclear.
fn counts(world: &mut World<'_>, id: JobId) -> [u64; 4] {
    match compared(world, id) {
        Some(Comparison::Counted(counts)) => {
            let ComparisonCounts {
                newly_broken,
                still_broken,
                fixed,
                unclear,
            } = counts;
            [newly_broken, still_broken, fixed, unclear]
        }
        other => panic!("{other:?}"),
    }
}

fn newly_broken(world: &mut World<'_>, id: JobId) -> Vec<String> {
    let newly = world.filtered(id, Filter::NewlyBroken).into_iter();
    newly.map(|result| result.target).collect()
}

#[test]
fn each_change() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        let (still, fixed, blocked, gone, new) = (
            "http://away.test/still",
            "http://away.test/fixed",
            "http://away.test/blocked",
            "http://away.test/gone",
            "http://away.test/new",
        );
        let before = web(&[
            (
                START,
                page(&[still, still, fixed, blocked, gone, new, "//", "/x"]),
            ),
            (new, Answer::Status(200)),
        ]);
        let first = check(&mut world, &before);
        assert_eq!(compared(&mut world, first), None, "there is none before it");
        assert_eq!(
            newly_broken(&mut world, first).len(),
            7,
            "twins are listed twice"
        );
        let after = web(&[
            (START, page(&[new, "//", "/y", still, blocked, fixed])),
            (fixed, Answer::Status(200)),
            (blocked, Answer::Status(403)),
        ]);
        let second = check(&mut world, &after);
        // What is no URL is the same by its text: one stands there still, one is new, one is gone.
        assert_eq!(counts(&mut world, second), [2, 2, 3, 1]);
        assert_eq!(newly_broken(&mut world, second), [new, "/y"]);
        // The site as it was: what was mended is broken again.
        let third = check(&mut world, &before);
        assert_eq!(counts(&mut world, third), [4, 2, 2, 0]);
        // The run before is compared with, not the one before that.
        world
            .command(&Command::Delete {
                id: second,
                version: None,
            })
            .expect("it has ended");
        assert_eq!(compared(&mut world, third), None);
        assert_eq!(newly_broken(&mut world, third).len(), 7);
    });
}

#[test]
fn a_link_is_the_same_by_page_target_and_fragment() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        let (a, b) = ("http://site.test/a", "http://site.test/b");
        let before = web(&[
            (START, page(&[a, b])),
            (a, page(&["http://away.test/x", "http://away.test/%7Ey"])),
            (b, page(&[])),
        ]);
        check(&mut world, &before);
        let after = web(&[
            (START, page(&[a, b])),
            (a, page(&["http://away.test/x#1", "http://away.test/~y"])),
            (b, page(&["http://away.test/x"])),
        ]);
        let id = check(&mut world, &after);
        // The same target from another page, or by another place in it, is another link; written otherwise it is not.
        assert_eq!(counts(&mut world, id), [2, 1, 1, 0]);
        let targets = newly_broken(&mut world, id);
        assert_eq!(targets, ["http://away.test/x#1", "http://away.test/x"]);
    });
}

#[test]
fn of_a_page_that_cannot_be_read_nobody_knows() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        let name = |i: usize| format!("http://site.test/{i}");
        let lost = || page(&["http://away.test/x"]);
        let names: Vec<String> = (0..6).map(name).collect();
        let mut before = web(&[(START, Answer::Page(names.clone()))]);
        before.extend(names.iter().map(|name| (name.clone(), lost())));
        check(&mut world, &before);
        // The last is not even linked any more.
        let mut after = web(&[(START, Answer::Page(names[..5].to_vec()))]);
        for (name, status) in names.iter().zip([404, 410, 500, 429]) {
            after.insert(name.clone(), Answer::Status(status));
        }
        after.insert(names[4].clone(), lost());
        let id = check(&mut world, &after);
        // Newly broken are the links to the pages with 404, 410 and 500.
        assert_eq!(counts(&mut world, id), [3, 1, 3, 2]);
    });
}

#[test]
fn of_what_a_run_that_was_stopped_did_not_come_to_nobody_knows() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        let (a, x) = ("http://site.test/a", "http://away.test/x");
        let site = web(&[(START, page(&[a, x])), (a, page(&["http://away.test/y"]))]);
        check(&mut world, &site);
        let id = begin(&mut world);
        let row = &world.outbox()[0];
        world.perform(&site, row);
        assert_eq!(compared(&mut world, id), None, "it has not ended");
        world.job_of(&Command::Cancel { id, version: None });
        assert_eq!(counts(&mut world, id), [0, 0, 0, 2]);
        world.job_of(&Command::Resume { id, version: None });
        world.perform_all(&site, |_| 0);
        assert_eq!(counts(&mut world, id), [0, 2, 0, 0]);
        // A run that could not begin knows nothing either, but that its start page is broken.
        let id = check(&mut world, &web(&[(START, Answer::Status(500))]));
        assert_eq!(world.job(id).status, Status::Failed);
        assert_eq!(counts(&mut world, id), [1, 0, 0, 2]);
    });
}

fn is_broken(result: &LinkResult) -> bool {
    result.verdict.is_some_and(Verdict::is_broken)
}

type Key = (Option<String>, String);

fn key(result: &LinkResult) -> Key {
    (result.source.clone(), result.target.clone())
}

fn broken(results: &[LinkResult]) -> BTreeSet<Key> {
    results.iter().filter(|r| is_broken(r)).map(key).collect()
}

/// What the results of both runs say, `web` being that of the later one.
fn truth(before: &[LinkResult], after: &[LinkResult], web: &Web) -> [u64; 4] {
    let (was, is) = (broken(before), broken(after));
    let mut works: BTreeMap<Key, bool> = BTreeMap::new();
    for result in after {
        let fine = matches!(result.verdict, Some(Verdict::Alive | Verdict::Moved));
        *works.entry(key(result)).or_insert(true) &= fine;
    }
    let is_linked = |url: &str| after.iter().any(|result| result.target == url);
    let mut counts = [is.difference(&was).count() as u64, 0, 0, 0];
    for key in &was {
        let page = key.0.as_deref().expect("start pages can be read");
        let change = match (is.contains(key), works.get(key)) {
            (true, _) => 1,
            (false, Some(true)) => 2,
            (false, Some(false)) => 3,
            (false, None) => match web.get(page) {
                Some(Answer::Status(status)) if *status != 404 && is_linked(page) => 3,
                _ => 2,
            },
        };
        counts[change] += 1;
    }
    counts
}

fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    rng.next_u64() % bound
}

/// The web some time later: half of it is as it was.
fn later(rng: &mut ChaCha8Rng, web: &Web) -> Web {
    let mut later = random_web(rng);
    for (url, answer) in web {
        if below(rng, 2) == 0 {
            later.insert(url.clone(), answer.clone());
        }
    }
    later
}

/// Some pages of one site that link to each other, to places elsewhere, and to what is no URL.
fn random_web(rng: &mut ChaCha8Rng) -> Web {
    let mut web = Web::new();
    let links = |rng: &mut ChaCha8Rng| {
        let count = below(rng, 8);
        let one = |rng: &mut ChaCha8Rng| match below(rng, 8) {
            0 => format!("nothing {}", below(rng, 2)),
            1..=3 => format!("http://site.test/{}", below(rng, 6)),
            4 => format!("http://away.test/{}#there", below(rng, 4)),
            _ => format!("http://away.test/{}", below(rng, 4)),
        };
        Answer::Page((0..count).map(|_| one(rng)).collect())
    };
    for i in 0..6 {
        let answer = match below(rng, 8) {
            0 => Answer::Status(404),
            1 => Answer::Status(500),
            2 => Answer::Status(403),
            _ => links(rng),
        };
        web.insert(format!("http://site.test/{i}"), answer);
    }
    for i in 0..4 {
        let status = [200, 404, 429, 500][below(rng, 4) as usize];
        web.insert(format!("http://away.test/{i}"), Answer::Status(status));
    }
    web.insert(START.into(), links(rng));
    web
}

#[test]
fn counts_are_what_both_runs_results_say() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut web = random_web(&mut rng);
        let first = check(&mut world, &web);
        let mut before = world.results(first);
        let mut seen = [0; 4];
        for _ in 0..200 {
            web = later(&mut rng, &web);
            let id = check(&mut world, &web);
            let after = world.results(id);
            let expected = truth(&before, &after, &web);
            assert_eq!(counts(&mut world, id), expected, "{web:#?}");
            let newly = world.filtered(id, Filter::NewlyBroken);
            let (was, is) = (broken(&before), broken(&after));
            let newly: BTreeSet<Key> = newly.iter().map(key).collect();
            assert_eq!(newly, is.difference(&was).cloned().collect());
            seen = std::array::from_fn(|i| seen[i] + expected[i]);
            before = after;
        }
        assert!(seen.iter().all(|count| *count > 30), "{seen:?}");
    });
}

/// Runs that are larger than what is compared: nothing is counted, and the reader says so.
#[test]
fn too_many_broken_links_are_not_compared() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        let each = 10_000;
        let lost: Vec<String> = (0..each).map(|i| format!("nothing {i}")).collect();
        let count = query::MAX_COMPARED / each;
        let mut pages: Vec<String> = (0..count)
            .map(|i| format!("http://site.test/{i}"))
            .collect();
        let mut large = Web::new();
        for page in &pages {
            large.insert(page.clone(), Answer::Page(lost.clone()));
        }
        pages.push("one more".into());
        large.insert(START.into(), Answer::Page(pages));
        check(&mut world, &large);
        let id = check(&mut world, &web(&[(START, page(&["nothing"]))]));
        let not_compared = NotCompared::TooManyBroken;
        let expected = Some(Comparison::NotCompared { not_compared });
        assert_eq!(compared(&mut world, id), expected);
        let id = check(&mut world, &web(&[(START, page(&["nothing"]))]));
        assert_eq!(counts(&mut world, id), [0, 1, 0, 0]);
        // As many as are compared.
        let all = large.get_mut(START).expect("it is there");
        let Answer::Page(links) = all else {
            panic!("a page")
        };
        links.pop();
        check(&mut world, &large);
        let id = check(&mut world, &large);
        assert_eq!(counts(&mut world, id), [0, query::MAX_COMPARED, 0, 0]);
    });
}
