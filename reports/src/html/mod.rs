//! One seed as one self-contained HTML file: what ran, what broke, and a space-time diagram of everything between.
//!
//! The file asks for nothing over the network and opens from a disk. The timeline travels inside it as columns of
//! numbers (times as differences, texts once each), about 20 bytes a message; a script draws only what is in view.

mod columns;
mod portrait;

use crate::table::{grouped, three_digits};
use holdfast_record::{SeedRecord, Timeline};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 4] = [
    include_str!("model.js"),
    include_str!("draw.js"),
    include_str!("events.js"),
    include_str!("page.js"),
];

/// What a page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The outcome.
    pub record: &'a SeedRecord,
    /// What happened, in order of time.
    pub timeline: &'a Timeline,
    /// The command that runs the seed again.
    pub reproduce: &'a str,
}

/// The whole page: a diagram of what passed between nodes, or the picture of an overlay. All text of the record and the timeline is escaped: none of it can become markup or script.
pub fn page(page: &Page<'_>) -> String {
    let Page {
        record,
        timeline,
        reproduce,
    } = page;
    let title = format!(
        "{}, {} lane, seed {}",
        record.scenario, record.lane, record.seed
    );
    if let Some(overlay) = &timeline.portrait {
        let fields = [
            ("title", escape(&title)),
            ("scenario", escape(&record.scenario)),
            ("lane", escape(&record.lane.to_string())),
            ("seed", record.seed.to_string()),
            ("verdict", verdict(record, timeline)),
            ("reproduce", escape(reproduce)),
            ("counts", counts(record, timeline)),
            ("marks", chips(&record.marks)),
            ("style", [STYLE, portrait::STYLE].concat()),
            ("pictures", portrait::pictures(overlay)),
        ];
        return fill(portrait::TEMPLATE, &fields);
    }
    // The data goes in last: what it says is then never searched for placeholders.
    let fields = [
        ("title", escape(&title)),
        ("scenario", escape(&record.scenario)),
        ("lane", escape(&record.lane.to_string())),
        ("lane-meaning", lane_meaning(record).to_string()),
        ("seed", record.seed.to_string()),
        ("verdict", verdict(record, timeline)),
        ("reproduce", escape(reproduce)),
        ("counts", counts(record, timeline)),
        ("faults", chips(&record.faults)),
        ("marks", chips(&record.marks)),
        ("plan", escape(&pretty(&timeline.plan))),
        ("style", STYLE.to_string()),
        ("script", SCRIPTS.concat()),
        ("data", columns::encode(timeline, record.nodes)),
    ];
    fill(TEMPLATE, &fields)
}

/// Replaces `{{name}}` by its value, in one pass: values are never scanned.
fn fill(template: &str, fields: &[(&str, String)]) -> String {
    let mut out =
        String::with_capacity(template.len() + fields.iter().map(|f| f.1.len()).sum::<usize>());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, tail) = after.split_once("}}").expect("a closed placeholder");
        let value = fields.iter().find(|(field, _)| *field == name);
        out.push_str(before);
        out.push_str(&value.unwrap_or_else(|| panic!("a value for {name}")).1);
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn lane_meaning(record: &SeedRecord) -> &'static str {
    match record.lane {
        holdfast_record::Lane::Fast => {
            "the protocol, log and state machine, stepped by an event heap"
        }
        holdfast_record::Lane::Full => "the whole engine with its tasks, streams and HTTP",
    }
}

fn verdict(record: &SeedRecord, timeline: &Timeline) -> String {
    let Some(failure) = &record.failure else {
        return "<div class=\"verdict passed\"><b>Passed.</b> No property broke.</div>".to_string();
    };
    // Nodes are counted from 0 and named otherwise.
    let name = failure.node.map(|node| {
        let lane = timeline.lanes.get(node as usize);
        lane.map_or_else(|| format!("node {}", node + 1), String::clone)
    });
    let place = name
        .map(|name| format!(" on {}", escape(&name)))
        .unwrap_or_default();
    format!(
        "<div class=\"verdict failed\"><b>{} broke</b> at {:.6} s{}{}<pre>{}</pre></div>",
        escape(&failure.property),
        failure.at_ns as f64 / 1e9,
        place,
        property_meaning(&failure.property).map_or_else(String::new, |meaning| format!(
            "<p>Should hold: {meaning}.</p>"
        )),
        escape(&failure.message),
    )
}

/// What a property asks for, for who did not write it; `None` for one that is not known here.
fn property_meaning(property: &str) -> Option<&'static str> {
    Some(match property {
        "election-safety" => "a term has one leader at most",
        "leader-completeness" => "who is elected has every entry that was committed before",
        "log-matching" => {
            "an entry of one index and term is the same in every log, and so is all before it"
        }
        "state-machine-safety" => "all nodes apply the same entry at an index",
        "monotonic-commit" => "while a node runs, its term and its commit index never fall",
        "commit-in-own-term" => {
            "a leader commits by counting copies of entries of its own term only"
        }
        "durable-promise" => {
            "a vote or an acknowledgement leaves a node after what it promises is on its disk"
        }
        "acknowledged-prefix" => "what a follower acknowledges is what its leader has there",
        "hard-state-atomicity" => "a start finds a term and a vote that were written together",
        "read-recency" => {
            "a linearizable read sees everything that was committed when it was asked"
        }
        "linearizability" | "witness" | "real-time-order" => {
            "every answer fits one order of all operations, in which none comes before another that had ended when \
             it began"
        }
        "exactly-once" => "a command that is retried is carried out once",
        "watch" => "a watch tells every change once and in order",
        "equal-state" => "nodes that have applied the same entries are equal",
        "convergence" => "after the last fault all nodes come to have applied the same entries",
        "liveness" => "after the last fault one node leads and every client is answered",
        "recovery" => "a node starts again after any crash",
        "storage" => "storage fails only when a disk does",
        "no-panic" => "nothing panics",
        _ => return None,
    })
}

fn counts(record: &SeedRecord, timeline: &Timeline) -> String {
    let mut items = vec![
        ("nodes", grouped(u64::from(record.nodes))),
        (
            "simulated time",
            format!("{} s", three_digits(record.simulated_ns as f64 / 1e9)),
        ),
        (
            "CPU time",
            format!("{} ms", three_digits(record.cpu_ns as f64 / 1e6)),
        ),
        ("messages", grouped(record.messages)),
        ("operations answered", grouped(record.operations)),
        ("outcome unknown", grouped(record.unknown)),
        ("faults", grouped(faults(record))),
        ("events on this page", grouped(timeline.events.len() as u64)),
        ("trace hash", record.trace_hash.clone()),
    ];
    if timeline.dropped > 0 {
        items.push(("events left out, too many", grouped(timeline.dropped)));
    }
    items
        .iter()
        .map(|(name, value)| {
            format!(
                "<div><dt>{}</dt><dd>{}</dd></div>",
                escape(name),
                escape(value)
            )
        })
        .collect()
}

/// How many faults struck; what links did to packets is counted beside them, by the ten thousand.
fn faults(record: &SeedRecord) -> u64 {
    let of_plan = record
        .faults
        .iter()
        .filter(|(kind, _)| !kind.starts_with("packet_"));
    of_plan.map(|(_, count)| count).sum()
}

fn chips(counts: &std::collections::BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "<span class=\"none\">none</span>".to_string();
    }
    counts
        .iter()
        .map(|(name, count)| {
            let class = if *count == 0 { "chip zero" } else { "chip" };
            format!(
                "<span class=\"{class}\">{} <b>{}</b></span>",
                escape(name),
                grouped(*count)
            )
        })
        .collect()
}

/// The plan indented where it is JSON, as it is where it is not.
fn pretty(plan: &str) -> String {
    serde_json::from_str::<serde_json::Value>(plan)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| plan.to_string())
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
