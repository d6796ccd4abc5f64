//! A log, an outbox, and a web that is plain data.

use holdfast_host::{Disk, Host, UnixTime, tokio_host};
use holdfast_links::{
    CheckJob, Checked, Command, Found, FoundTarget, JobId, LinkResult, Links, MAX_REDIRECTS,
    Onward, Outcome, Redirect, Refusal, Task, Timings, Verdict, query,
};
use holdfast_replica::{DiskCommand, DiskMachine};
use holdfast_tables::{End, Reader, Services, SqlError, Tables, TablesOptions};
use holdfast_web::LinkKind;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};
use tokio::runtime::Builder;

/// Calls as they stand in the log, written down here once more on purpose: logs outlive programs.
#[derive(Serialize)]
enum Call {
    Service {
        service: &'static str,
        caller: Option<()>,
        command: Vec<u8>,
    },
    Acquire {
        service: &'static str,
        holder: u64,
        seen: (u64, u64, u64),
    },
    #[expect(dead_code, reason = "it has its place among the others")]
    Renew,
    #[expect(dead_code, reason = "likewise")]
    Release,
    Settle {
        service: &'static str,
        epoch: u64,
        settled: Vec<(i64, u32, End)>,
    },
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "they are shown when something else was expected")]
enum Reply {
    Done(Vec<u8>),
    Replayed(Vec<u8>),
    Refused(Vec<u8>),
    KeyReused,
    Unknown,
    Failed(String),
    Leased { epoch: u64 },
    Fenced,
    Settled,
}

/// What is at a URL.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A page with links.
    Page(Vec<String>),
    /// A status alone.
    Status(u16),
    /// A redirect.
    Redirect(u16, String),
}

/// What is where; 404 elsewhere.
pub type Web = BTreeMap<String, Answer>;

/// Tables, and the log's end.
pub struct World<'d> {
    tables: Tables,
    disk: &'d mut dyn Disk,
    index: u64,
    /// How often each URL was asked for.
    pub asked: BTreeMap<String, u32>,
}

/// A row of the outbox.
pub struct Row {
    id: i64,
    attempts: u32,
    task: Task,
}

const NOW: UnixTime = UnixTime::from_nanos(1_800_000_000_000_000_000);

/// Runs a test in a folder of its own.
pub fn run(test: impl FnOnce(&mut dyn Disk) + Send + 'static) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let host: Host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
    runtime.block_on(host.blocking(test));
}

impl<'d> World<'d> {
    /// Fresh tables in a file of that name.
    pub fn new(disk: &'d mut dyn Disk, name: &str) -> World<'d> {
        let options = TablesOptions {
            path: PathBuf::from(name),
            cache_kib: 1024,
            mutant: None,
            witness: None,
        };
        let services = Services::new().with(Links::default());
        let rng = ChaCha8Rng::seed_from_u64(7);
        let tables = Tables::open(disk, NOW, services, options, rng).expect("it opens");
        let mut world = World {
            tables,
            disk,
            index: 0,
            asked: BTreeMap::new(),
        };
        let reply = world.apply(&Call::Acquire {
            service: "links",
            holder: 1,
            seen: (0, 0, 0),
        });
        assert!(matches!(reply, Reply::Leased { epoch: 1 }), "{reply:?}");
        world
    }

    fn apply(&mut self, call: &Call) -> Reply {
        self.index += 1;
        let command = DiskCommand {
            index: self.index,
            time: NOW.as_nanos() + self.index * 1_000_000,
            payload: postcard::to_stdvec(call).expect("it encodes").into(),
        };
        let replies = self.tables.apply(self.disk, NOW, &[command]);
        let replies = replies.expect("the disk works");
        postcard::from_bytes(&replies[0]).expect("a reply")
    }

    /// Proposes a command.
    pub fn command(&mut self, command: &Command) -> Result<Outcome, Refusal> {
        let reply = self.apply(&Call::Service {
            service: "links",
            caller: None,
            command: postcard::to_stdvec(command).expect("it encodes"),
        });
        match reply {
            Reply::Done(outcome) => Ok(postcard::from_bytes(&outcome).expect("an outcome")),
            Reply::Refused(refusal) => Err(postcard::from_bytes(&refusal).expect("a refusal")),
            other => panic!("{other:?}"),
        }
    }

    /// Proposes a command that answers with a job.
    pub fn job_of(&mut self, command: &Command) -> CheckJob {
        match self.command(command) {
            Ok(Outcome::Job(job)) => *job,
            other => panic!("{other:?}"),
        }
    }

    /// Reads.
    pub fn read<T>(&mut self, read: impl FnOnce(Reader<'_>) -> Result<T, SqlError>) -> T {
        let read = self.tables.read(self.disk, NOW, read);
        read.expect("it reads")
    }

    /// How many rows a count finds.
    pub fn count(&mut self, sql: &'static str) -> i64 {
        self.read(|reader| reader.one(sql, [], |row| row.get(0)))
    }

    /// A job as it is.
    pub fn job(&mut self, id: JobId) -> CheckJob {
        let found = self.read(|reader| query::find_job(reader, id));
        found.expect("it is there")
    }

    /// All of a job's results.
    pub fn results(&mut self, id: JobId) -> Vec<LinkResult> {
        self.filtered(id, query::Filter::All)
    }

    /// Those of a job's results that a filter lets through.
    pub fn filtered(&mut self, id: JobId, filter: query::Filter) -> Vec<LinkResult> {
        let read = self.read(|reader| query::results(reader, id, filter, 0, query::MAX_PAGE));
        read.expect("it is there")
    }

    /// What is counted of a job is what its rows are.
    pub fn check_counts(&mut self, id: JobId) {
        let job = self.job(id);
        let counted = self.read(|reader| query::verdicts(reader, id));
        let mut there: BTreeMap<String, u64> = BTreeMap::new();
        let results = self.results(id);
        for result in &results {
            let name = result.verdict.map_or("pending", Verdict::name);
            *there.entry(name.to_owned()).or_default() += 1;
        }
        assert_eq!(counted, there);
        assert_eq!(job.total_links, results.len() as u64);
    }

    /// What the outbox asks for.
    pub fn outbox(&mut self) -> Vec<Row> {
        self.read(|reader| {
            reader.all(
                "SELECT id, attempts, payload FROM outbox ORDER BY id",
                [],
                |row| {
                    let payload: Vec<u8> = row.get(2)?;
                    Ok(Row {
                        id: row.get(0)?,
                        attempts: row.get(1)?,
                        task: postcard::from_bytes(&payload).expect("a task"),
                    })
                },
            )
        })
    }

    /// Answers one row as the web does.
    pub fn perform(&mut self, web: &Web, row: &Row) {
        let checked = self.check(web, &row.task);
        let result = postcard::to_stdvec(&checked).expect("it encodes");
        let reply = self.apply(&Call::Settle {
            service: "links",
            epoch: 1,
            settled: vec![(row.id, row.attempts, End::Done(result.into()))],
        });
        assert!(matches!(reply, Reply::Settled), "{reply:?}");
    }

    fn check(&mut self, web: &Web, task: &Task) -> Checked {
        let mut url = task.url.clone();
        let mut redirects = Vec::new();
        loop {
            *self.asked.entry(url.clone()).or_default() += 1;
            let answer = web.get(&url).cloned().unwrap_or(Answer::Status(404));
            let Answer::Redirect(status, to) = answer else {
                return found(task, &url, redirects, &answer);
            };
            let is_loop = to == task.url || redirects.iter().any(|r: &Redirect| r.url == to);
            redirects.push(Redirect {
                url,
                status,
                to: to.clone(),
            });
            let is_itself = to == task.url && redirects.len() == 1;
            if !task.follow && !is_itself {
                let onward = Some(Onward::Unasked(to));
                return Checked {
                    onward,
                    ..checked(Verdict::Alive, "ok", redirects)
                };
            }
            if is_loop {
                return checked(Verdict::RedirectLoop, "redirect_loop", redirects);
            }
            if redirects.len() > MAX_REDIRECTS {
                return checked(Verdict::RedirectLoop, "too_many_redirects", redirects);
            }
            url = to;
        }
    }

    /// Answers everything, each time the row that `choose` takes of so many.
    pub fn perform_all(&mut self, web: &Web, mut choose: impl FnMut(usize) -> usize) {
        loop {
            let rows = self.outbox();
            if rows.is_empty() {
                return;
            }
            let row = &rows[choose(rows.len())];
            self.perform(web, row);
        }
    }
}

fn found(task: &Task, url: &str, redirects: Vec<Redirect>, answer: &Answer) -> Checked {
    match answer {
        Answer::Status(200) => verdict_of(redirects, url),
        Answer::Status(status) => Checked {
            status: Some(*status),
            ..checked(of_status(*status), &format!("status_{status}"), redirects)
        },
        Answer::Page(links) => Checked {
            is_page: task.scope.is_some(),
            links: match task.scope.is_some() {
                true => links.iter().zip(0..).map(link).collect(),
                false => Vec::new(),
            },
            ..verdict_of(redirects, url)
        },
        Answer::Redirect(..) => unreachable!("it is followed"),
    }
}

fn of_status(status: u16) -> Verdict {
    match status {
        403 => Verdict::Blocked,
        429 => Verdict::Throttled,
        _ => Verdict::Dead,
    }
}

fn verdict_of(redirects: Vec<Redirect>, url: &str) -> Checked {
    let is_permanent = redirects.first().is_some_and(|hop| hop.status == 301);
    let final_url = (!redirects.is_empty()).then(|| url.to_owned());
    let (verdict, reason) = match is_permanent {
        true => (Verdict::Moved, "permanent_redirect"),
        false => (Verdict::Alive, "ok"),
    };
    Checked {
        status: Some(200),
        final_url,
        ..checked(verdict, reason, redirects)
    }
}

/// A text that does not begin with a scheme of the web is no URL.
fn link((raw, ordinal): (&String, u32)) -> Found {
    let target = match raw.split_once('#') {
        _ if !raw.starts_with("http://") => FoundTarget::Invalid("no_host".into()),
        Some((url, fragment)) => FoundTarget::Web {
            url: url.into(),
            fragment: Some(fragment.into()),
        },
        None => FoundTarget::Web {
            url: raw.clone(),
            fragment: None,
        },
    };
    Found {
        ordinal,
        line: 1,
        column: 1,
        kind: LinkKind::Anchor,
        element: "a".into(),
        text: String::new(),
        raw: raw.clone(),
        target,
    }
}

fn checked(verdict: Verdict, reason: &str, redirects: Vec<Redirect>) -> Checked {
    Checked {
        verdict,
        reason: reason.into(),
        detail: String::new(),
        status: None,
        final_url: None,
        redirects,
        timings: Timings::default(),
        attempts: 1,
        names: None,
        is_page: false,
        links: Vec::new(),
        left_out: 0,
        onward: None,
    }
}
