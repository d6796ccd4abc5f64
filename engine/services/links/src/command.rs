//! What clients ask of the service, what they are told, and what travels between its outbox and its worker.

use crate::{CheckJob, JobId, JobOptions, Redirect, Status, Timings, Verdict};
use holdfast_web::{LinkKind, Scheme};
use serde::{Deserialize, Serialize};

/// Most start pages of one job.
pub const MAX_STARTS: usize = 100;
/// Longest URL, bytes.
pub const MAX_URL_BYTES: usize = 8 << 10;
/// Redirects that are followed from one link.
pub const MAX_REDIRECTS: usize = 10;

/// A change of jobs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// A new job, to be begun when it is its turn.
    Create(NewJob),
    /// Stops a job; what it has found stays.
    Cancel {
        /// Which.
        id: JobId,
        /// Only if it is in this version.
        version: Option<u64>,
    },
    /// Goes on with a job that was cancelled or has failed.
    Resume {
        /// Which.
        id: JobId,
        /// Only if it is in this version.
        version: Option<u64>,
    },
    /// Forgets a job that is over, and its results: nobody sees them any more, and [`Sweep`](Command::Sweep) removes
    /// them.
    Delete {
        /// Which.
        id: JobId,
        /// Only if it is in this version.
        version: Option<u64>,
    },
    /// Begins jobs whose time has come, by the log's clock.
    Tick,
    /// Removes some of the rows that deleted jobs have left.
    Sweep,
}

/// What a client says of a new job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJob {
    /// Where to begin, absolute URLs.
    pub start_urls: Vec<String>,
    /// How to check.
    pub options: JobOptions,
    /// When to begin, nanoseconds since the epoch; `None`: at once.
    pub scheduled_for: Option<u64>,
    /// How long after its beginning to begin the next one like it.
    pub every_ms: Option<u64>,
}

/// What became of a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The job as it is now.
    Job(Box<CheckJob>),
    /// It is gone.
    Deleted,
    /// So many jobs were begun.
    Begun(u32),
    /// Rows of deleted jobs were removed; whether none are left.
    Swept(bool),
}

/// Why a [`Command`] was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// There is no such job.
    #[error("there is no job {0}")]
    NotFound(JobId),
    /// The job has changed since.
    #[error("the job is in version {0} by now")]
    Changed(u64),
    /// Not in this status.
    #[error("a job that is {} cannot be changed so", .0.name())]
    WrongStatus(Status),
    /// What was said of a new job cannot be.
    #[error("{field}: {reason}")]
    Invalid {
        /// Of what.
        field: String,
        /// Why.
        reason: String,
    },
    /// There are too many jobs; old ones must be deleted first.
    #[error("there are {0} jobs, and no more are kept")]
    TooMany(u64),
}

/// Pages of these hosts are crawled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The hosts of the start pages, with ports where they are not the scheme's.
    pub hosts: Vec<String>,
    /// And their subdomains.
    pub subdomains: bool,
    /// Only paths that begin so.
    pub path_prefix: Option<String>,
}

impl Scope {
    /// Whether the page at `url` is crawled.
    pub fn contains(&self, url: &url::Url) -> bool {
        let host = authority(url);
        let is_host = self.hosts.iter().any(|own| {
            let parent = host.len().checked_sub(own.len() + 1);
            *own == host
                || (self.subdomains
                    && host.ends_with(own.as_str())
                    && parent.is_some_and(|dot| host.as_bytes()[dot] == b'.'))
        });
        let prefix = self.path_prefix.as_deref().unwrap_or("");
        is_host && url.path().starts_with(prefix)
    }
}

/// Host and, where it is not the scheme's, port.
pub(crate) fn authority(url: &url::Url) -> String {
    let host = url.host_str().unwrap_or("");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// A row of the outbox: one target to check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The job's number.
    pub job: i64,
    /// The target's.
    pub target: i64,
    /// What to fetch, without a fragment.
    pub url: String,
    /// Whether redirects are followed to their end here, and not as targets of their own.
    pub follow: bool,
    /// The page that it was found on first; `None` for start pages and where those redirect to.
    pub referer: Option<String>,
    /// Its links are wanted if it is in here; `None`: they are not.
    pub scope: Option<Scope>,
    /// It is a start page: the sitemaps of its host are wanted too.
    pub sitemaps: bool,
    /// How it is to be read where its media type does not tell.
    pub kind: LinkKind,
    /// From the options.
    pub retries: u32,
    /// From the options.
    pub retry_after_ms: u64,
    /// From the options.
    pub gap_ms: u64,
}

/// The result of a [`Task`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// What became of it.
    pub verdict: Verdict,
    /// Why, for programs.
    pub reason: String,
    /// Why, for people.
    pub detail: String,
    /// The final status.
    pub status: Option<u16>,
    /// Where redirects led.
    pub final_url: Option<String>,
    /// The redirects.
    pub redirects: Vec<Redirect>,
    /// How long it took.
    pub timings: Timings,
    /// Attempts that were made.
    pub attempts: u32,
    /// Names that fragments can point to; `None`: not known.
    pub names: Option<Vec<String>>,
    /// Whether it was read as a page.
    pub is_page: bool,
    /// Its links.
    pub links: Vec<Found>,
    /// Links that were left out.
    pub left_out: u32,
    /// Where its redirects lead, if that is a target of its own.
    pub onward: Option<Onward>,
}

impl Checked {
    /// It is there, and has said where it should be looked for.
    pub(crate) fn moved_to(self, url: &str) -> Checked {
        Checked {
            verdict: Verdict::Moved,
            reason: "permanent_redirect".into(),
            detail: format!("write {url} instead"),
            ..self
        }
    }
}

/// Another target that a target leads to by a redirect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Onward {
    /// Nobody has asked there yet: its verdict is that of the target that leads there, too.
    Unasked(String),
    /// The chain had cookies, so it was followed; what is there without them is a page of its own.
    Followed(String),
}

/// A link on a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Which one, from 0.
    pub ordinal: u32,
    /// Line of its tag.
    pub line: u32,
    /// Column of its tag.
    pub column: u32,
    /// What it is for.
    pub kind: LinkKind,
    /// The element that it stands in.
    pub element: String,
    /// Its text.
    pub text: String,
    /// As written.
    pub raw: String,
    /// Where it leads.
    pub target: FoundTarget,
}

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FoundTarget {
    /// Into the web.
    Web {
        /// The URL without a fragment.
        url: String,
        /// The fragment.
        fragment: Option<String>,
    },
    /// Somewhere that cannot be fetched.
    Other(Scheme),
    /// Nowhere: it is no URL.
    Invalid(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_hosts_and_a_path() {
        let mut scope = Scope {
            hosts: vec!["a.test".into(), "b.test:8080".into()],
            subdomains: false,
            path_prefix: Some("/docs/".into()),
        };
        let check =
            |scope: &Scope, url: &str| scope.contains(&url::Url::parse(url).expect("a URL"));
        assert!(check(&scope, "https://a.test/docs/x"));
        assert!(!check(&scope, "https://a.test/other"));
        assert!(!check(&scope, "https://a.test:8443/docs/x"));
        assert!(check(&scope, "http://b.test:8080/docs/"));
        assert!(!check(&scope, "http://w.a.test/docs/"));
        scope.subdomains = true;
        assert!(check(&scope, "http://w.a.test/docs/"));
        assert!(!check(&scope, "http://wa.test/docs/"));
    }
}
