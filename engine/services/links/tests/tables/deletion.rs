//! A deleted job is out of sight at once, and its rows go in pieces.

use crate::world::{Answer, Web, World, run};
use holdfast_links::{Command, JobOptions, NewJob, Outcome, Refusal, Status, query};

const START: &str = "http://site.test/";
/// What one command removes at most.
const PIECE: i64 = 1_000;

fn new() -> Command {
    Command::Create(NewJob {
        start_urls: vec![START.into()],
        options: JobOptions {
            sitemaps: false,
            ..JobOptions::default()
        },
        ..NewJob::default()
    })
}

/// A page with so many links.
fn page(links: usize) -> Web {
    let links = (0..links).map(|i| format!("http://away-{}.test/{i}", i % 50));
    Web::from([(START.into(), Answer::Page(links.collect()))])
}

const LINKS: &str = "SELECT count(*) FROM links_links";
const ALL: &str = "SELECT (SELECT count(*) FROM links_links) + (SELECT count(*) FROM links_targets)
    + (SELECT count(*) FROM links_hosts) + (SELECT count(*) FROM links_calendars)
    + (SELECT count(*) FROM links_verdicts) + (SELECT count(*) FROM links_deleted)";

#[test]
fn a_large_job_goes_in_pieces_and_nobody_sees_the_rest() {
    run(|disk| {
        let mut world = World::new(disk, "tables.db");
        let web = page(3_500);
        let id = world.job_of(&new()).id;
        let row = &world.outbox()[0];
        world.perform(&web, row);
        world.job_of(&Command::Cancel { id, version: None });
        let all = world.count(ALL);
        assert_eq!(world.count(LINKS), 3_501);
        let deleted = world.command(&Command::Delete { id, version: None });
        assert_eq!(deleted, Ok(Outcome::Deleted));
        assert_eq!(world.count(LINKS), 3_501 - PIECE, "one piece went with it");
        let gone = world.read(|reader| query::results(reader, id, query::Filter::All, 0, 10));
        assert_eq!(gone, None);
        assert!(
            world
                .read(|reader| query::jobs(reader, None, 10))
                .is_empty()
        );
        let again = world.command(&Command::Delete { id, version: None });
        assert_eq!(again, Err(Refusal::NotFound(id)));

        // A job that begins meanwhile has nothing to do with what is left.
        let other = world.job_of(&new()).id;
        let small = page(3);
        world.perform_all(&small, |_| 0);
        assert_eq!(world.results(other).len(), 4);
        world.check_counts(other);

        let mut sweeps = 0;
        loop {
            let before = world.count(ALL);
            let swept = world.command(&Command::Sweep);
            sweeps += 1;
            let removed = before - world.count(ALL);
            assert!(removed <= PIECE, "{removed} rows went in one command");
            match swept {
                Ok(Outcome::Swept(true)) => break,
                Ok(Outcome::Swept(false)) => assert!(removed > 0 && sweeps < 100),
                other => panic!("{other:?}"),
            }
        }
        assert!(sweeps > all / PIECE, "{sweeps} for {all} rows");
        assert_eq!(world.job(other).status, Status::Completed);
        assert_eq!(world.results(other).len(), 4);
        world.check_counts(other);
        world
            .command(&Command::Delete {
                id: other,
                version: None,
            })
            .expect("it has ended");
        assert_eq!(world.count(ALL), 0, "a small one is gone at once");
    });
}
