//! The JSON of the link checker's interface, beside that of [`CheckJob`] and [`LinkResult`], and of what the tables
//! remember. Times are texts of RFC 3339.

use holdfast_links::{CheckJob, JobOptions, LinkResult, report::Comparison};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A new job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewJobRequest {
    /// Where to begin, absolute URLs; or `target_domain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_urls: Option<Vec<String>>,
    /// A host, with a port if need be: begin at its root, by HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_domain: Option<String>,
    /// How to check; what is left out is as [`JobOptions::default`] has it.
    pub options: JobOptions,
    /// When to begin; at once when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<String>,
    /// How long after its beginning to begin the next one like it, such as `24h`; or `every_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// The same in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
}

/// A job, and what it has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReply {
    /// The job.
    #[serde(flatten)]
    pub job: CheckJob,
    /// How many links have which verdict; `pending` those that have none yet.
    pub verdicts: BTreeMap<String, u64>,
    /// What changed since the run before, once the job has ended, if there is such a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// A page of jobs, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsReply {
    /// The jobs.
    pub jobs: Vec<CheckJob>,
    /// The cursor of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A page of results, in the order in which their links were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultsReply {
    /// The results.
    pub results: Vec<LinkResult>,
    /// The cursor of the next page, if there is one. A job that runs may find more later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a client of a job's events is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// `progress`: the job as it is now.
    Progress(Box<CheckJob>),
    /// `end`: the job has ended; the last event.
    End(Box<CheckJob>),
    /// `deleted`: somebody deleted the job; the last event.
    Deleted,
    /// `closing`: the node stops, and says why; events go on at another.
    Closing(String),
}

/// The data of events that tell no job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDetail {
    /// What happened, for people.
    pub detail: String,
}

/// A page of the audit log, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReply {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// The cursor of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A change that was asked for and carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its name; later ones have greater ones.
    pub id: i64,
    /// The command's place in the log.
    pub index: u64,
    /// When.
    pub time: String,
    /// Who asked: a key's id, or `anonymous`.
    pub actor: String,
    /// Which service changed.
    pub service: String,
    /// What was asked: an operation's id in the OpenAPI document.
    pub operation: String,
    /// Of what.
    pub resource: String,
    /// What became of it.
    pub outcome: String,
}

/// A page of dead letters, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLettersReply {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// The cursor of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Something that was to be done outside and was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its name.
    pub id: i64,
    /// Whose it is.
    pub service: String,
    /// Where it was to be done: of the link checker's, at which host.
    pub lane: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// When.
    pub died: String,
    /// What was to be done, in the service's own form; base64.
    pub payload: super::Value,
}
