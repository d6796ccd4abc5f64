//! An overlay in four pictures: the ring of ids with one lookup on it, hops, success over time, and what tables are like.
//!
//! They are SVG that is drawn here, so that the page needs no script.

use super::escape;
use crate::table::{grouped, three_digits};
use holdfast_record::{Moment, Portrait, Walk};
use std::f64::consts::TAU;
use std::fmt::Write;

pub const TEMPLATE: &str = include_str!("portrait.html");
pub const STYLE: &str = include_str!("portrait.css");

/// Side of the ring's picture, and its radius.
const SIDE: f64 = 720.0;
const RADIUS: f64 = 290.0;
/// Size of a chart, and the room for its scales.
const CHART: (f64, f64) = (460.0, 190.0);
const MARGIN: (f64, f64) = (44.0, 24.0);

/// How high a layer of a chart is at a moment.
type Height = fn(&Moment) -> f64;

/// The pictures.
pub fn pictures(overlay: &Portrait) -> String {
    let figure = |picture: String, caption: String| {
        format!("<figure>{picture}<figcaption>{caption}</figcaption></figure>")
    };
    format!(
        "<main class=\"overlay\"><div>{}</div><div>{}{}{}</div></main>",
        figure(ring(overlay), ring_caption(overlay)),
        figure(hops(overlay), hops_caption(overlay)),
        figure(success(overlay), success_caption(overlay)),
        figure(health(&overlay.moments), health_caption(&overlay.moments)),
    )
}

/// Where a position is on a circle around the middle: the first id above, clockwise.
fn place(position: u32, radius: f64) -> (f64, f64) {
    let angle = f64::from(position) / 2f64.powi(32) * TAU;
    let middle = SIDE / 2.0;
    (middle + radius * angle.sin(), middle - radius * angle.cos())
}

/// A line from one position to another that bends to the middle.
fn chord(from: (f64, f64), to: (f64, f64)) -> String {
    let bend = |a: f64, b: f64| SIDE / 2.0 + ((a + b) / 2.0 - SIDE / 2.0) * 0.35;
    let (x, y) = (bend(from.0, to.0), bend(from.1, to.1));
    format!(
        "M{:.1} {:.1}Q{x:.1} {y:.1} {:.1} {:.1}",
        from.0, from.1, to.0, to.1
    )
}

fn ring(overlay: &Portrait) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {SIDE} {SIDE}\" role=\"img\" aria-label=\"The ring of ids\">\
         <circle class=\"axis\" cx=\"{0}\" cy=\"{0}\" r=\"{RADIUS}\"/>",
        SIDE / 2.0
    );
    let mut draw = |arguments: std::fmt::Arguments<'_>| {
        svg.write_fmt(arguments).expect("a string takes everything");
    };
    if let Some(walk) = &overlay.walk {
        let from = place(walk.from, RADIUS);
        for (position, _) in &overlay.contacts {
            draw(format_args!(
                "<path class=\"contact\" d=\"{}\"/>",
                chord(from, place(*position, RADIUS))
            ));
        }
    }
    for node in &overlay.nodes {
        let (x, y) = place(node.position, RADIUS);
        let class = match (node.lies, node.good >= node.questionable + node.bad) {
            (true, _) => "node lies",
            (false, true) => "node",
            (false, false) => "node poor",
        };
        draw(format_args!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\"><title>{:08x}: {}</title></circle>",
            node.position,
            match node.lies {
                true => "lies, or tests others".to_owned(),
                false => format!(
                    "{} good contacts, {} questionable, {} bad",
                    node.good, node.questionable, node.bad
                ),
            }
        ));
    }
    if let Some(walk) = &overlay.walk {
        draw(format_args!("{}", steps(walk)));
    }
    svg + "</svg>"
}

/// Whom a lookup asked: each farther out than the one before, so that those close to each other can be told apart.
fn steps(walk: &Walk) -> String {
    let mut svg = String::new();
    let (inner, outer) = (
        place(walk.target, RADIUS - 34.0),
        place(walk.target, RADIUS + 52.0),
    );
    svg += &format!(
        "<path class=\"target\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"><title>target {:08x}</title></path>",
        inner.0, inner.1, outer.0, outer.1, walk.target
    );
    let from = place(walk.from, RADIUS);
    let count = walk.steps.len().max(1) as f64;
    let spot = |step: usize| {
        let out = RADIUS + 8.0 + 34.0 * step as f64 / count;
        place(walk.steps[step].position, out)
    };
    for (number, step) in walk.steps.iter().enumerate() {
        let (x, y) = spot(number);
        let (class, said) = match step.answered_ms {
            Some(answered) => ("asked", format!("answered after {answered:.0} ms")),
            None => ("asked silent", "has not answered".to_owned()),
        };
        svg += &format!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\"><title>question {}: {:08x}, asked after \
             {:.0} ms, {said}</title></circle>",
            number + 1,
            step.position,
            step.asked_ms
        );
        if step.is_on_the_way {
            let before = step.named_by.filter(|step| (*step as usize) < number);
            let before = before.map_or(from, |step| spot(step as usize));
            svg += &format!("<path class=\"way\" d=\"{}\"/>", chord(before, (x, y)));
        }
    }
    svg + &format!(
        "<circle class=\"from\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"><title>{:08x} looks</title></circle>",
        from.0, from.1, walk.from
    )
}

fn ring_caption(overlay: &Portrait) -> String {
    let lies = overlay.nodes.iter().filter(|node| node.lies).count();
    let mut text = format!(
        "<b>{} nodes on the ring of ids</b>, what befell them: {}. Green: most contacts of the node are good; yellow: they \
         are not.",
        grouped(overlay.nodes.len() as u64),
        escape(&overlay.befell)
    );
    if lies > 0 {
        text += &format!(
            " Red: {} that lie, or test what others take.",
            grouped(lies as u64)
        );
    }
    if let Some(walk) = &overlay.walk {
        let answered = walk.steps.iter().filter(|step| step.answered_ms.is_some());
        text += &format!(
            " The last lookup: whom it asked ({}, of whom {} answered) stands outside the ring, farther out the later; the \
             thick line is the way to the closest node, the dashed one marks the target. Thin lines lead to the contacts \
             of who looked.",
            walk.steps.len(),
            answered.count()
        );
    }
    text
}

/// A chart's frame, with what its height and its width stand for.
fn frame(label: &str, top: &str, left: &str, right: &str) -> String {
    let (width, height) = CHART;
    let (x, y) = MARGIN;
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\">\
         <path class=\"axis\" d=\"M{x} 10V{0}H{1}\"/>\
         <text x=\"{2}\" y=\"18\" text-anchor=\"end\">{top}</text>\
         <text x=\"{2}\" y=\"{0}\" text-anchor=\"end\">0</text>\
         <text x=\"{x}\" y=\"{3}\">{left}</text>\
         <text x=\"{1}\" y=\"{3}\" text-anchor=\"end\">{right}</text>",
        height - y,
        width - 10.0,
        x - 5.0,
        height - 7.0
    )
}

/// Where a share of the width and a share of the height are in a chart.
fn at(across: f64, up: f64) -> (f64, f64) {
    let ((width, height), (x, y)) = (CHART, MARGIN);
    (
        x + across * (width - x - 10.0),
        height - y - up * (height - y - 10.0),
    )
}

fn hops(overlay: &Portrait) -> String {
    let most = overlay.hops.iter().copied().max().unwrap_or(0).max(1);
    let count = overlay.hops.len().max(8);
    let last = (count - 1).to_string();
    let mut svg = frame("Hops", &grouped(most), "0 hops", &last);
    for (hops, lookups) in overlay.hops.iter().enumerate() {
        let (x, y) = at(
            (hops as f64 + 0.1) / count as f64,
            *lookups as f64 / most as f64,
        );
        let (end, bottom) = at((hops as f64 + 0.9) / count as f64, 0.0);
        svg += &format!(
            "<rect class=\"bar\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{hops} hops: {} \
             lookups</title></rect>",
            end - x,
            bottom - y,
            grouped(*lookups)
        );
    }
    let across = (overlay.usual_hops + 0.5) / count as f64;
    let ((x, top), (_, bottom)) = (at(across, 1.0), at(across, 0.0));
    svg + &format!("<path class=\"mean\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/></svg>")
}

fn hops_caption(overlay: &Portrait) -> String {
    let lookups: u64 = overlay.hops.iter().sum();
    let sum = overlay
        .hops
        .iter()
        .enumerate()
        .map(|(hops, n)| hops as u64 * n);
    let mean = sum.sum::<u64>() as f64 / lookups.max(1) as f64;
    format!(
        "<b>Hops to the closest node</b>: {} lookups, {} in the mean. Dashed: {}, the mean of plain Kademlia with full tables.",
        grouped(lookups),
        three_digits(mean),
        three_digits(overlay.usual_hops)
    )
}

/// How far along the run each moment is.
fn along(moments: &[Moment]) -> (f64, impl Fn(&Moment) -> f64) {
    let end = moments.last().map_or(1, |moment| moment.at).max(1) as f64;
    (end / 1e9, move |moment: &Moment| moment.at as f64 / end)
}

fn line(class: &str, points: impl Iterator<Item = (f64, f64)>) -> String {
    let points: Vec<String> = points
        .map(|(across, up)| at(across, up))
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    format!(
        "<polyline class=\"{class}\" points=\"{}\"/>",
        points.join(" ")
    )
}

fn success(overlay: &Portrait) -> String {
    let moments = &overlay.moments;
    let (seconds, across) = along(moments);
    let end = format!("{} s", three_digits(seconds));
    let mut svg = frame("Right lookups over time", "100 %", "0 s", &end);
    let most = moments
        .iter()
        .map(|moment| moment.live)
        .max()
        .unwrap_or(0)
        .max(1) as f64;
    svg += &line(
        "live",
        moments.iter().map(|m| (across(m), m.live as f64 / most)),
    );
    let looked = moments.iter().filter(|moment| moment.ended > 0);
    svg += &line(
        "right",
        looked.map(|m| (across(m), m.right as f64 / m.ended as f64)),
    );
    svg + "</svg>"
}

fn success_caption(overlay: &Portrait) -> String {
    let ended: u64 = overlay.moments.iter().map(|moment| moment.ended).sum();
    let right: u64 = overlay.moments.iter().map(|moment| moment.right).sum();
    format!(
        "<b>Lookups that reached the closest node</b>, over time: {} of {}. Dotted: nodes that live, of the most there were.",
        grouped(right),
        grouped(ended)
    )
}

fn health(moments: &[Moment]) -> String {
    let (seconds, across) = along(moments);
    let all = |moment: &Moment| moment.good + moment.questionable + moment.bad;
    let most = moments.iter().map(all).fold(1.0, f64::max);
    let end = format!("{} s", three_digits(seconds));
    let mut svg = frame("Contacts over time", &three_digits(most), "0 s", &end);
    let layers: [(&str, Height, Height); 3] = [
        ("good", |_| 0.0, |m| m.good),
        ("questionable", |m| m.good, |m| m.good + m.questionable),
        (
            "bad",
            |m| m.good + m.questionable,
            |m| m.good + m.questionable + m.bad,
        ),
    ];
    for (class, low, high) in layers {
        let there = moments.iter().map(|m| at(across(m), high(m) / most));
        let back = moments.iter().rev().map(|m| at(across(m), low(m) / most));
        let points: Vec<String> = there
            .chain(back)
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        svg += &format!(
            "<polygon class=\"{class}\" points=\"{}\"/>",
            points.join(" ")
        );
    }
    svg + "</svg>"
}

fn health_caption(moments: &[Moment]) -> String {
    let last = moments.last().copied().unwrap_or_default();
    format!(
        "<b>Contacts of a node in the mean</b>, over time: good, questionable and bad ones; in the end {}, {} and {}.",
        three_digits(last.good),
        three_digits(last.questionable),
        three_digits(last.bad)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_record::{PortraitNode, WalkStep};

    fn overlay() -> Portrait {
        let node = |position, lies| PortraitNode {
            position,
            lies,
            good: 8,
            questionable: 1,
            bad: 0,
        };
        let step = |position, named_by, answered_ms| WalkStep {
            position,
            named_by,
            asked_ms: 1.0,
            answered_ms,
            is_on_the_way: answered_ms.is_some(),
        };
        Portrait {
            befell: "<script>".into(),
            nodes: vec![node(0, false), node(1 << 30, true), node(1 << 31, false)],
            contacts: vec![(1 << 31, 0)],
            walk: Some(Walk {
                from: 0,
                target: 3 << 30,
                steps: vec![
                    step(1 << 30, None, None),
                    step(1 << 31, Some(0), Some(80.0)),
                ],
            }),
            hops: vec![0, 2, 1],
            usual_hops: 2.3,
            moments: vec![
                Moment {
                    at: 1_000_000_000,
                    live: 3,
                    ended: 2,
                    right: 1,
                    good: 4.0,
                    questionable: 0.0,
                    bad: 1.0,
                },
                Moment::default(),
            ],
        }
    }

    #[test]
    fn ids_go_round_clockwise_from_above() {
        let close = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() + (a.1 - b.1).abs() < 1e-6;
        let middle = SIDE / 2.0;
        assert!(close(place(0, 100.0), (middle, middle - 100.0)));
        assert!(close(place(1 << 30, 100.0), (middle + 100.0, middle)));
        assert!(close(place(1 << 31, 100.0), (middle, middle + 100.0)));
    }

    #[test]
    fn everybody_and_every_question_is_drawn_and_nothing_is_markup() {
        let html = pictures(&overlay());
        assert_eq!(html.matches("class=\"node").count(), 3);
        assert_eq!(html.matches("class=\"node lies\"").count(), 1);
        assert_eq!(html.matches("class=\"asked").count(), 2);
        assert_eq!(html.matches("class=\"way\"").count(), 1);
        assert_eq!(html.matches("class=\"bar\"").count(), 3);
        assert!(html.contains("3 lookups, 1.33 in the mean"));
        assert!(html.contains("1 of 2."));
        assert!(!html.contains("<script>") && !html.contains("NaN"));
    }

    #[test]
    fn an_overlay_without_anything_has_a_page() {
        let html = pictures(&Portrait::default());
        assert!(!html.contains("NaN") && !html.contains("inf"));
    }
}
