//! Results that belong together because they have one target, as many as a page shows.

use super::super::{Change, escape};
use crate::{LinkResult, Redirect, Verdict};
use std::collections::BTreeMap;

/// Targets of broken links that are shown, and targets of warnings.
///
/// They are those that were found first. Pages are read from the start page outwards, so what stands on every page,
/// and what is near the start, is among them.
pub const MAX_TARGETS: usize = 1_000;
/// Places of one target that are shown.
pub const MAX_PLACES: usize = 25;
/// Redirects of one target that are shown.
const MAX_REDIRECTS: usize = 10;
/// Characters of a URL that are shown.
const MAX_URL: usize = 2_000;
/// Characters of other texts that are shown.
const MAX_TEXT: usize = 200;
/// Bytes of text that are kept for all targets together; when they are used up, no more targets and places are kept.
const MAX_BYTES: usize = 16 << 20;

/// Targets of one kind of verdict.
#[derive(Default)]
pub struct Groups {
    by_target: BTreeMap<(String, Verdict), Group>,
    bytes: usize,
    /// Links to other targets, which are not kept.
    pub rest: u64,
}

/// Links with one target and verdict.
pub struct Group {
    pub target: String,
    pub verdict: Verdict,
    pub reason: String,
    pub detail: String,
    pub final_url: Option<String>,
    pub redirects: Vec<Redirect>,
    /// How many they are.
    pub links: u64,
    /// The first of them.
    pub places: Vec<Place>,
    /// Whether one of them was not broken in the job before.
    pub is_new: bool,
    first: u64,
}

/// Where a link stands.
pub struct Place {
    pub page: Option<String>,
    pub line: u32,
    pub column: u32,
    pub element: String,
    pub text: String,
}

impl Groups {
    pub fn add(&mut self, result: &LinkResult, verdict: Verdict, change: Option<Change>) {
        let key = (clipped(&result.target, MAX_URL), verdict);
        let is_full = self.by_target.len() >= MAX_TARGETS || self.bytes >= MAX_BYTES;
        if is_full && !self.by_target.contains_key(&key) {
            self.rest += 1;
            return;
        }
        let bytes = &mut self.bytes;
        let group = self.by_target.entry(key).or_insert_with_key(|(target, _)| {
            let group = Group::new(target.clone(), verdict, result);
            *bytes += 2 * group.bytes();
            group
        });
        group.links += 1;
        group.is_new |= change == Some(Change::NewlyBroken);
        if group.places.len() < MAX_PLACES && *bytes < MAX_BYTES {
            let place = Place::new(result);
            *bytes += place.bytes();
            group.places.push(place);
        }
    }

    /// The groups, those with most links first, then those found first.
    pub fn sorted(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.by_target.into_values().collect();
        groups.sort_by_key(|group| (std::cmp::Reverse(group.links), group.first));
        groups
    }
}

impl Group {
    fn new(target: String, verdict: Verdict, result: &LinkResult) -> Group {
        let redirects = result.redirects.iter().take(MAX_REDIRECTS);
        Group {
            target,
            verdict,
            reason: clipped(&result.reason, MAX_TEXT),
            detail: clipped(&result.detail, MAX_TEXT),
            final_url: result.final_url.as_ref().map(|to| clipped(to, MAX_URL)),
            redirects: redirects
                .map(|redirect| Redirect {
                    url: clipped(&redirect.url, MAX_URL),
                    status: redirect.status,
                    to: clipped(&redirect.to, MAX_URL),
                })
                .collect(),
            links: 0,
            places: Vec::new(),
            is_new: false,
            first: result.id,
        }
    }

    fn bytes(&self) -> usize {
        let redirects = self.redirects.iter().map(|r| r.url.len() + r.to.len());
        self.target.len()
            + self.reason.len()
            + self.detail.len()
            + self.final_url.as_ref().map_or(0, String::len)
            + redirects.sum::<usize>()
            + size_of::<Group>()
    }
}

impl Place {
    fn new(result: &LinkResult) -> Place {
        Place {
            page: result.source.as_ref().map(|page| clipped(page, MAX_URL)),
            line: result.line,
            column: result.column,
            element: clipped(&result.element, MAX_TEXT),
            text: clipped(&result.text, MAX_TEXT),
        }
    }

    fn bytes(&self) -> usize {
        let page = self.page.as_ref().map_or(0, String::len);
        page + self.element.len() + self.text.len() + size_of::<Place>()
    }
}

fn clipped(text: &str, limit: usize) -> String {
    match escape::clip(text, limit) {
        (start, true) => format!("{start}…"),
        (all, false) => all.to_owned(),
    }
}
