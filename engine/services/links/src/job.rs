use crate::{Verdict, time};
use holdfast_web::LinkKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a [`CheckJob`]: 128 bits, later jobs have greater ones; in texts 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u128);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(id) if is_hex => Ok(JobId(id)),
            _ => Err(InvalidJobId),
        }
    }
}

/// No name of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job's id is 32 hexadecimal digits")]
pub struct InvalidJobId;

impl Serialize for JobId {
    fn serialize<S: serde::Serializer>(&self, ser: S) -> Result<S::Ok, S::Error> {
        match ser.is_human_readable() {
            true => ser.collect_str(self),
            false => self.0.serialize(ser),
        }
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: serde::Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        if !de.is_human_readable() {
            return u128::deserialize(de).map(JobId);
        }
        let text = String::deserialize(de)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for its time, or for others to end.
    Queued,
    /// It is being worked on.
    Running,
    /// Every link that was found has its verdict.
    Completed,
    /// It could not begin: none of its start pages could be read.
    Failed,
    /// Somebody stopped it; it can be resumed.
    Cancelled,
}

impl Status {
    /// Its name in serialised form.
    pub fn name(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Running => "running",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        }
    }

    /// The status of that name.
    pub fn named(name: &str) -> Option<Status> {
        use Status::*;
        let mut all = [Queued, Running, Completed, Failed, Cancelled].into_iter();
        all.find(|status| status.name() == name)
    }

    /// Whether it is over, unless somebody resumes it.
    pub fn has_ended(self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Cancelled)
    }
}

/// How a job checks. Durations are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobOptions {
    /// Whether pages on subdomains of the start pages' hosts are crawled too.
    pub subdomains: bool,
    /// Only pages whose path begins so are crawled; others are checked.
    pub path_prefix: Option<String>,
    /// Whether links that lead elsewhere are checked.
    pub external: bool,
    /// Whether places in pages are checked.
    pub fragments: bool,
    /// Whether the sitemaps that robots.txt names are read.
    pub sitemaps: bool,
    /// Links from a start page to the furthest page that is crawled.
    pub max_depth: u32,
    /// Pages that are crawled.
    pub max_pages: u64,
    /// Different targets that are checked; those that only redirects lead to come on top.
    pub max_targets: u64,
    /// Targets of one host that are checked.
    pub max_targets_per_host: u64,
    /// Least time between the beginnings of two requests to one host; robots.txt may ask for more.
    pub gap_ms: u64,
    /// Further tries after a failure that may pass.
    pub retries: u32,
    /// Time before the first further try; before each next one twice as long.
    pub retry_after_ms: u64,
}

impl Default for JobOptions {
    fn default() -> Self {
        JobOptions {
            subdomains: false,
            path_prefix: None,
            external: true,
            fragments: true,
            sitemaps: true,
            max_depth: 50,
            max_pages: 100_000,
            max_targets: 1_000_000,
            max_targets_per_host: 200_000,
            gap_ms: 0,
            retries: 2,
            retry_after_ms: 1_000,
        }
    }
}

/// A run over a site. Times are nanoseconds since the epoch, in JSON texts of RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckJob {
    /// Its name.
    pub id: JobId,
    /// Rises with every change of what a client can set; for `ETag` and `If-Match`.
    pub version: u64,
    /// The host that is checked: that of the first start page.
    pub target_domain: String,
    /// Where it begins.
    pub start_urls: Vec<String>,
    /// Where it is.
    pub status: Status,
    /// When it was asked for.
    #[serde(with = "time::instant")]
    pub created_at: u64,
    /// When it is to begin, if not at once.
    #[serde(with = "time::maybe")]
    pub scheduled_for: Option<u64>,
    /// Time from the beginning of one run to that of the next, if there is to be one.
    pub every_ms: Option<u64>,
    /// When it began.
    #[serde(with = "time::maybe")]
    pub started_at: Option<u64>,
    /// When it ended.
    #[serde(with = "time::maybe")]
    pub completed_at: Option<u64>,
    /// Links found so far, each place on each page counted.
    pub total_links: u64,
    /// Those of them that are broken; see [`Verdict::is_broken`].
    pub broken_count: u64,
    /// Pages read.
    pub pages: u64,
    /// Different targets found, those that only redirects lead to included.
    pub targets: u64,
    /// Those of them that have no verdict yet.
    pub pending: u64,
    /// What was left out because of a bound of the options or a trap.
    pub skipped: u64,
    /// The last job over the same start pages that had completed before this one.
    pub previous: Option<JobId>,
    /// Why it failed.
    pub failure: Option<String>,
    /// How it checks.
    pub options: JobOptions,
}

/// A redirect on the way to a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// What answered.
    pub url: String,
    /// Its status.
    pub status: u16,
    /// Where it pointed.
    pub to: String,
}

/// How long a check took, milliseconds; of the last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// Until a turn and a connection were to be had.
    pub wait_ms: u32,
    /// Until the final response began.
    pub head_ms: u32,
    /// In all.
    pub total_ms: u32,
}

/// One link of one page, and its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkResult {
    /// Its number; rises in the order in which links were found.
    pub id: u64,
    /// Of which job.
    pub job: JobId,
    /// The page that it stands on; the start pages stand on none.
    pub source: Option<String>,
    /// Which link of that page it is, from 0.
    pub ordinal: u32,
    /// Line of its tag, from 1; 0 in a header.
    pub line: u32,
    /// Column of its tag, from 1; 0 in a header.
    pub column: u32,
    /// What it is for.
    pub kind: LinkKind,
    /// The element that it stands in.
    pub element: String,
    /// Its text.
    pub text: String,
    /// As it is written there.
    pub raw: String,
    /// What it points to, fragment included; as written where that is no URL.
    pub target: String,
    /// Where redirects led, if they led elsewhere.
    pub final_url: Option<String>,
    /// The final status, if there was one.
    pub status: Option<u16>,
    /// The redirects on the way.
    pub redirects: Vec<Redirect>,
    /// What became of it; `None` while that is not known.
    pub verdict: Option<Verdict>,
    /// Why, as a name for programs: `status_404`, `timeout_head`, `tls_expired`, `robots`, ...
    pub reason: String,
    /// Why, for people.
    pub detail: String,
    /// Attempts that were made.
    pub attempts: u32,
    /// How long it took.
    pub timings: Timings,
    /// When the verdict was known, nanoseconds since the epoch.
    #[serde(with = "time::maybe")]
    pub checked_at: Option<u64>,
}
