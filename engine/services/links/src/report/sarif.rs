//! SARIF 2.1.0 (OASIS Standard, 27 March 2020), which code scanning reads.
//!
//! One rule for each verdict that asks something of somebody, in the order of [`Verdict::ALL`]; one result for each
//! link with such a verdict: `error` if it is broken, `warning` if it may be, `note` if it has moved. The location is
//! the page's URL and the place of the tag; start pages stand on no page and are their own location. The fingerprint
//! is made of verdict, page, target, kind and the number of the link among its twins, so it survives edits of the
//! page.
//!
//! What changed since the job before is a property, `change`. It is no `baselineState`: that would have to stand at
//! every result (section 3.27.24), and only broken links are compared. GitHub takes 25,000 results in a file: a
//! report of more is for other readers.

use super::{
    Change, Severity, Writer, json, kind_name, meaning,
    occurrences::{Occurrences, fingerprint},
    page_of, severity, title,
    when::Rfc3339,
};
use crate::{CheckJob, LinkResult, Status, Verdict};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json";

/// The array's results so far.
pub(super) struct Sarif {
    is_empty: bool,
    occurrences: Occurrences,
}

impl Sarif {
    pub fn begin(job: &CheckJob, out: &mut String) -> Sarif {
        out.push_str("{\"$schema\":");
        json::encode(&SCHEMA, out);
        out.push_str(",\"version\":\"2.1.0\",\"runs\":[{\"tool\":");
        json::encode(&tool(), out);
        out.push_str(",\"automationDetails\":");
        // What stands before the last slash names the series of runs (section 3.17.2).
        let details = json!({ "id": format!("links/{}/{}", job.target_domain, job.id) });
        json::encode(&details, out);
        out.push_str(",\"invocations\":[");
        json::encode(&invocation(job), out);
        out.push_str("],\"columnKind\":\"unicodeCodePoints\",\"results\":[");
        Sarif {
            is_empty: true,
            occurrences: Occurrences::default(),
        }
    }
}

impl Writer for Sarif {
    fn push(&mut self, result: &LinkResult, change: Option<Change>, out: &mut String) {
        let twin = self.occurrences.before(result);
        let Some(verdict) = result.verdict else {
            return;
        };
        let Some(rule_index) = reported().position(|reported| reported == verdict) else {
            return;
        };
        out.push_str(if self.is_empty { "\n" } else { ",\n" });
        self.is_empty = false;
        let target = &*result.target;
        let page = result.source.as_deref().unwrap_or(target);
        let region = (result.line > 0 && result.source.is_some()).then_some(Region {
            start_line: result.line,
            start_column: result.column.max(1),
        });
        let kind = kind_name(result);
        let twin = twin.to_string();
        let print = fingerprint(&[verdict.name(), page_of(result), target, &kind, &twin]);
        let print = format!("{print:032x}");
        json::encode(
            &Finding {
                rule_id: verdict.name(),
                rule_index,
                level: level(verdict),
                message: Message {
                    text: plain(&message(result, verdict)),
                },
                locations: [Location {
                    physical_location: PhysicalLocation {
                        artifact_location: ArtifactLocation { uri: page },
                        region,
                    },
                }],
                partial_fingerprints: BTreeMap::from([("link/v1", &*print)]),
                properties: Properties {
                    target,
                    reason: &result.reason,
                    kind: &kind,
                    element: &result.element,
                    text: &result.text,
                    status: result.status,
                    final_url: result.final_url.as_deref(),
                    attempts: result.attempts,
                    change: change.map(Change::name),
                },
            },
            out,
        );
    }

    fn finish(&mut self, out: &mut String) {
        out.push_str("\n]}]}\n");
    }
}

/// The verdicts that are reported, in the order of the rules.
fn reported() -> impl Iterator<Item = Verdict> {
    let all = Verdict::ALL.into_iter();
    all.filter(|verdict| severity(*verdict) > Severity::Fine)
}

fn level(verdict: Verdict) -> &'static str {
    match severity(verdict) {
        Severity::Fine => "none",
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn tool() -> serde_json::Value {
    let rule = |verdict: Verdict| {
        json!({
            "id": verdict.name(),
            "name": title(verdict),
            "shortDescription": { "text": title(verdict) },
            "fullDescription": { "text": meaning(verdict) },
            "help": { "text": meaning(verdict) },
            "defaultConfiguration": { "level": level(verdict) },
        })
    };
    json!({
        "driver": {
            "name": "holdfast",
            "version": env!("CARGO_PKG_VERSION"),
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "rules": reported().map(rule).collect::<Vec<_>>(),
        }
    })
}

fn invocation(job: &CheckJob) -> serde_json::Value {
    let mut invocation = json!({ "executionSuccessful": job.status == Status::Completed });
    if let Some(at) = job.started_at {
        invocation["startTimeUtc"] = json!(Rfc3339(at).to_string());
    }
    if let Some(at) = job.completed_at {
        invocation["endTimeUtc"] = json!(Rfc3339(at).to_string());
    }
    if let Some(failure) = &job.failure {
        invocation["exitCodeDescription"] = json!(failure);
    }
    invocation
}

fn message(result: &LinkResult, verdict: Verdict) -> String {
    let (title, target) = (title(verdict), &result.target);
    match (&result.final_url, verdict) {
        (Some(to), Verdict::Moved) => format!("{title}: {target} (write {to} instead)"),
        _ if result.detail.is_empty() => format!("{title}: {target}"),
        _ => format!("{title}: {target} ({})", result.detail),
    }
}

/// A text that is no template and holds no links: braces begin placeholders and are written twice (section 3.11.5),
/// and what would make a link of `[a](b)` is pulled apart, since outside of links nothing escapes brackets (section
/// 3.11.6). The target as it is stands among the properties.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '{' | '}' => out.extend([c, c]),
            '(' if out.ends_with(']') => out.push_str(" ("),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding<'a> {
    rule_id: &'a str,
    rule_index: usize,
    level: &'a str,
    message: Message,
    locations: [Location<'a>; 1],
    partial_fingerprints: BTreeMap<&'a str, &'a str>,
    properties: Properties<'a>,
}

#[derive(Serialize)]
struct Message {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location<'a> {
    physical_location: PhysicalLocation<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation<'a> {
    artifact_location: ArtifactLocation<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
struct ArtifactLocation<'a> {
    uri: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    start_column: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Properties<'a> {
    target: &'a str,
    reason: &'a str,
    kind: &'a str,
    element: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    final_url: Option<&'a str>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'a str>,
}
