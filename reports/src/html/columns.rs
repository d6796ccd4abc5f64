//! A timeline as columns, in JSON that is safe inside a `<script>` element.

use holdfast_record::{Timeline, TimelineEvent};
use serde::Serialize;
use std::collections::HashMap;

/// The columns, as `model.js` reads them. Times are nanoseconds; texts are indices into `texts`; `-1` stands for "none".
#[derive(Default, Serialize)]
struct Columns<'a> {
    nodes: u32,
    lanes: &'a [String],
    texts: Vec<&'a str>,
    messages: Messages,
    operations: Vec<(u64, i64, u32, usize)>,
    states: Vec<(u64, u32, usize, u64)>,
    notes: Vec<(u64, u32, usize)>,
    faults: Vec<(u64, i64, &'a [u32], usize, usize)>,
    violations: Vec<(u64, i64, usize, usize)>,
}

/// Messages in order of sending: `at` holds differences to the message before, `flight` how long each was under way.
#[derive(Default, Serialize)]
struct Messages {
    at: Vec<u64>,
    from: Vec<u32>,
    to: Vec<u32>,
    flight: Vec<i64>,
    label: Vec<usize>,
}

/// Texts that were seen, each once: labels repeat by the thousand.
#[derive(Default)]
struct Texts<'a> {
    known: HashMap<&'a str, usize>,
    list: Vec<&'a str>,
}

impl<'a> Texts<'a> {
    fn index(&mut self, text: &'a str) -> usize {
        *self.known.entry(text).or_insert_with(|| {
            self.list.push(text);
            self.list.len() - 1
        })
    }
}

/// Encodes a timeline, whose events may be in any order; the first `nodes` of its lanes are nodes.
pub(super) fn encode(timeline: &Timeline, nodes: u32) -> String {
    let mut columns = Columns {
        nodes,
        lanes: &timeline.lanes,
        ..Columns::default()
    };
    let mut texts = Texts::default();
    let mut events: Vec<&TimelineEvent> = timeline.events.iter().collect();
    events.sort_by_key(|event| event.at());
    let mut last_sent = 0;
    for event in events {
        columns.push(event, &mut texts, &mut last_sent);
    }
    columns.texts = texts.list;
    let json = serde_json::to_string(&columns).expect("columns of numbers and texts");
    // Inside a script element, the only thing that can end the data is `</script` (and `<!--` can confuse it).
    json.replace('<', "\\u003c")
}

impl<'a> Columns<'a> {
    fn push(&mut self, event: &'a TimelineEvent, texts: &mut Texts<'a>, last_sent: &mut u64) {
        match event {
            TimelineEvent::Message {
                at,
                from,
                to,
                arrives,
                label,
            } => {
                self.messages.at.push(at - *last_sent);
                *last_sent = *at;
                self.messages.from.push(*from);
                self.messages.to.push(*to);
                let flight = arrives.map(|arrives| arrives.saturating_sub(*at));
                self.messages.flight.push(or_none(flight));
                self.messages.label.push(texts.index(label));
            }
            TimelineEvent::State {
                at,
                lane,
                state,
                term,
            } => self.states.push((*at, *lane, texts.index(state), *term)),
            TimelineEvent::Fault {
                at,
                until,
                lanes,
                fault,
                detail,
            } => self.faults.push((
                *at,
                or_none(*until),
                lanes,
                texts.index(fault),
                texts.index(detail),
            )),
            TimelineEvent::Operation {
                at,
                until,
                lane,
                label,
            } => self
                .operations
                .push((*at, or_none(*until), *lane, texts.index(label))),
            TimelineEvent::Note { at, lane, label } => {
                self.notes.push((*at, *lane, texts.index(label)));
            }
            TimelineEvent::Violation {
                at,
                lane,
                property,
                message,
            } => self.violations.push((
                *at,
                or_none(lane.map(u64::from)),
                texts.index(property),
                texts.index(message),
            )),
        }
    }
}

fn or_none(value: Option<u64>) -> i64 {
    value.map_or(-1, |v| i64::try_from(v).unwrap_or(i64::MAX))
}
