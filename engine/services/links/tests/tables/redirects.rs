//! In whichever order targets are answered, each link's verdict is what following its redirects gives, and each URL is
//! asked for once.

use crate::world::{Answer, Web, World, run};
use holdfast_links::{Command, JobOptions, MAX_REDIRECTS, NewJob, Status, Verdict};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::collections::BTreeSet;

const START: &str = "http://site.test/";

fn new() -> NewJob {
    NewJob {
        start_urls: vec![START.into()],
        options: JobOptions {
            sitemaps: false,
            ..JobOptions::default()
        },
        ..NewJob::default()
    }
}

/// What following a URL's redirects one by one comes to: the verdict, and how many redirects there are.
fn truth(web: &Web, url: &str) -> (Verdict, usize) {
    let (mut url, mut first, mut hops) = (url, None, 0);
    let mut seen = BTreeSet::new();
    loop {
        match web.get(url) {
            _ if !seen.insert(url) || hops > MAX_REDIRECTS => return (Verdict::RedirectLoop, hops),
            Some(Answer::Redirect(status, to)) => {
                first.get_or_insert(*status);
                hops += 1;
                url = to;
            }
            Some(Answer::Page(_) | Answer::Status(200)) if first == Some(301) => {
                return (Verdict::Moved, hops);
            }
            Some(Answer::Page(_) | Answer::Status(200)) => return (Verdict::Alive, hops),
            _ => return (Verdict::Dead, hops),
        }
    }
}

fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    (rng.next_u64() % bound as u64) as usize
}

/// Some places that redirect to each other at random, in two hosts; a page links to some of them.
fn random_web(rng: &mut ChaCha8Rng) -> Web {
    let count = 3 + below(rng, 25);
    let name = |i: usize| match i % 3 {
        0 => format!("http://site.test/{i}"),
        _ => format!("http://away.test/{i}"),
    };
    let mut web = Web::new();
    for i in 0..count {
        let answer = match below(rng, 10) {
            0 => Answer::Status(200),
            1 => Answer::Status(404),
            2 => Answer::Page(vec![name(below(rng, count))]),
            kind => {
                let status = if kind % 2 == 0 { 301 } else { 302 };
                Answer::Redirect(status, name(below(rng, count)))
            }
        };
        web.insert(name(i), answer);
    }
    let links = (0..1 + below(rng, count)).map(|_| name(below(rng, count)));
    web.insert(START.into(), Answer::Page(links.collect()));
    web
}

/// Runs a job over `web`; in some of them it is stopped meanwhile, and gone on with.
fn check(world: &mut World<'_>, web: &Web, rng: &mut ChaCha8Rng) {
    world.asked.clear();
    let id = world.job_of(&Command::Create(new())).id;
    let mut stops = below(rng, 3);
    loop {
        let rows = world.outbox();
        if rows.is_empty() {
            break;
        }
        if stops > 0 && below(rng, 8) == 0 {
            stops -= 1;
            world.job_of(&Command::Cancel { id, version: None });
            assert!(world.outbox().is_empty(), "nothing is asked for any more");
            world.job_of(&Command::Resume { id, version: None });
            continue;
        }
        world.perform(web, &rows[below(rng, rows.len())]);
        world.check_counts(id);
    }
    let job = world.job(id);
    assert_eq!(
        (job.status, job.pending),
        (Status::Completed, 0),
        "{web:#?}"
    );
    let mut is_long = false;
    let mut broken = 0;
    for result in world.results(id) {
        let (verdict, hops) = truth(web, &result.target);
        assert_eq!(result.verdict, Some(verdict), "{result:#?} of {web:#?}");
        is_long |= hops > MAX_REDIRECTS;
        broken += u64::from(verdict.is_broken());
        if verdict != Verdict::RedirectLoop {
            assert_eq!(result.redirects.len(), hops, "{result:#?} of {web:#?}");
        }
        for pair in result.redirects.windows(2) {
            assert_eq!(pair[0].to, pair[1].url, "one leads to the next");
        }
    }
    assert_eq!(job.broken_count, broken);
    if !is_long {
        let twice = world.asked.iter().find(|(_, times)| **times > 1);
        assert_eq!(twice, None, "of {web:#?}");
    }
}

#[test]
fn verdicts_are_those_of_chains_and_each_url_is_asked_for_once() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        for seed in 0..150 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let web = random_web(&mut rng);
            check(&mut world, &web, &mut rng);
        }
    });
}

/// A line of so many redirects to a page; links to some of its places stand each on a page of its own, so that they are
/// found at different times.
fn line(length: usize, linked: &[usize]) -> Web {
    let name = |i: usize| format!("http://away.test/{i}");
    let mut web = Web::new();
    for i in 0..length {
        web.insert(name(i), Answer::Redirect(302, name(i + 1)));
    }
    web.insert(name(length), Answer::Status(200));
    let page = |n: usize| format!("http://site.test/page-{n}");
    for (n, place) in linked.iter().enumerate() {
        web.insert(page(n), Answer::Page(vec![name(*place)]));
    }
    let pages = (0..linked.len()).map(page).collect();
    web.insert(START.into(), Answer::Page(pages));
    web
}

#[test]
fn who_stands_in_the_middle_of_a_chain_that_is_too_long_for_others_is_judged_alone() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        for seed in 0..100 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let length = MAX_REDIRECTS + below(&mut rng, 6);
            let count = below(&mut rng, 5);
            let mut linked: Vec<usize> = (0..count).map(|_| below(&mut rng, length)).collect();
            linked.push(0);
            check(&mut world, &line(length, &linked), &mut rng);
        }
    });
}

#[test]
fn a_link_that_is_found_later_is_judged_anew_in_a_chain_that_was_left() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        let web = line(14, &[6, 0]);
        let id = world.job_of(&Command::Create(new())).id;
        // What was found last comes first: the whole chain of the second page before the first page.
        world.perform_all(&web, |rows| rows - 1);
        assert_eq!(world.job(id).status, Status::Completed);
        let verdict_of = |place: &str, world: &mut World<'_>| {
            let results = world.results(id);
            let found = results.iter().find(|result| result.target.ends_with(place));
            found.expect("it is linked").verdict
        };
        assert_eq!(verdict_of("/0", &mut world), Some(Verdict::RedirectLoop));
        assert_eq!(verdict_of("/6", &mut world), Some(Verdict::Alive));
        world.check_counts(id);
    });
}

#[test]
fn an_endless_chain_is_left_after_as_many_requests_as_one_that_is_followed() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        let web = line(1_000, &[0]);
        let id = world.job_of(&Command::Create(new())).id;
        world.perform_all(&web, |_| 0);
        let results = world.results(id);
        let end = results.last().expect("there is the link");
        assert_eq!(end.verdict, Some(Verdict::RedirectLoop));
        assert_eq!(end.reason, "too_many_redirects");
        assert_eq!(end.redirects.len(), MAX_REDIRECTS + 1);
        // And the pages.
        assert_eq!(world.asked.len(), MAX_REDIRECTS + 3);
    });
}

#[test]
fn a_start_page_that_moved_to_another_host_is_read_there() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        let mut web = Web::new();
        let to = |url: &str| Answer::Redirect(301, url.into());
        web.insert(START.into(), to("http://half.test/"));
        web.insert("http://half.test/".into(), to("http://www.test/"));
        let page = |urls: &[&str]| Answer::Page(urls.iter().map(|u| (*u).to_owned()).collect());
        let links = page(&["http://www.test/a", "http://half.test/b"]);
        web.insert("http://www.test/".into(), links);
        web.insert("http://www.test/a".into(), page(&["http://www.test/c"]));
        web.insert("http://half.test/b".into(), page(&["http://www.test/d"]));
        let id = world.job_of(&Command::Create(new())).id;
        world.perform_all(&web, |_| 0);
        let targets: Vec<String> = world.results(id).into_iter().map(|r| r.target).collect();
        let expected = [
            START,
            "http://www.test/a",
            "http://half.test/b",
            "http://www.test/c",
        ];
        assert_eq!(targets, expected, "what is on the way is not crawled");
        assert_eq!(world.job(id).pages, 2);
    });
}
