//! What changed between two runs over one site.
//!
//! Both runs' results come sorted by [`Key`], and are merged: memory is that of a few results, however many there
//! are. A link that stands on a page several times, with one target and kind, is one link here, broken if one of its
//! places is.

use super::kind_name;
use crate::{LinkResult, Verdict};
use std::{cmp::Ordering, fmt, iter::FusedIterator};

/// What changed for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// It is broken, and was not: it worked, was not certain, or was not there.
    NewlyBroken,
    /// It was broken, and is.
    StillBroken,
    /// It was broken, and works or is gone.
    Fixed,
    /// It was broken, and nobody knows: its site blocks or throttles, tries disagree, it became uncheckable, or has
    /// no verdict yet.
    Unclear,
}

impl Change {
    /// Its name before programs.
    pub fn name(self) -> &'static str {
        match self {
            Change::NewlyBroken => "newly_broken",
            Change::StillBroken => "still_broken",
            Change::Fixed => "fixed",
            Change::Unclear => "unclear",
        }
    }
}

/// How many links changed in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComparisonCounts {
    /// See [`Change::NewlyBroken`].
    pub newly_broken: u64,
    /// See [`Change::StillBroken`].
    pub still_broken: u64,
    /// See [`Change::Fixed`].
    pub fixed: u64,
    /// See [`Change::Unclear`].
    pub unclear: u64,
}

impl ComparisonCounts {
    /// Counts one more link.
    pub fn add(&mut self, change: Change) {
        match change {
            Change::NewlyBroken => self.newly_broken += 1,
            Change::StillBroken => self.still_broken += 1,
            Change::Fixed => self.fixed += 1,
            Change::Unclear => self.unclear += 1,
        }
    }
}

/// What makes a link of one run that of another, and their order: page (start pages, which stand on none, first),
/// target with its fragment, name of the kind in serialised form. All are compared byte by byte, as SQLite's `BINARY`
/// does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    source: Option<String>,
    target: String,
    kind: String,
}

impl Key {
    /// The key of a result.
    pub fn of(result: &LinkResult) -> Key {
        Key {
            source: result.source.clone(),
            target: result.target.clone(),
            kind: kind_name(result),
        }
    }
}

/// One of the two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The earlier.
    Before,
    /// The later.
    After,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Before => "earlier run",
            Side::After => "later run",
        })
    }
}

/// A link that changed, or stayed broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// In which way.
    pub change: Change,
    /// What the earlier run says of it, by its worst place; `None` if it was not there.
    pub before: Option<LinkResult>,
    /// What the later run says of it, by its worst place; `None` if it is gone.
    pub after: Option<LinkResult>,
}

/// Why a comparison ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComparisonError {
    /// Results came that are not sorted by [`Key`].
    #[error("the results of the {side} are not sorted")]
    OutOfOrder {
        /// Of which run.
        side: Side,
    },
    /// A result came that was not asked for.
    #[error("a result came that was not asked for")]
    NotAsked,
}

/// What a [`Merge`] does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It needs the next result of this run: see [`Merge::feed`].
    Need(Side),
    /// It has found something.
    Found(Box<Compared>),
    /// It is over.
    Done,
}

/// The comparison as a machine that is fed, for results that come asynchronously or may fail to come.
#[derive(Debug, Default)]
pub struct Merge {
    before: Stream,
    after: Stream,
}

impl Merge {
    /// A comparison at its beginning.
    pub fn new() -> Merge {
        Merge::default()
    }

    /// Gives the next result of a run, `None` at its end.
    ///
    /// # Errors
    ///
    /// [`ComparisonError::OutOfOrder`] if its key is less than the one before, [`ComparisonError::NotAsked`] if
    /// [`Merge::step`] does not need a result of this run.
    pub fn feed(&mut self, side: Side, result: Option<LinkResult>) -> Result<(), ComparisonError> {
        let stream = match side {
            Side::Before => &mut self.before,
            Side::After => &mut self.after,
        };
        stream.feed(result, side)
    }

    /// What comes next.
    pub fn step(&mut self) -> Step {
        loop {
            if !self.before.is_ready() {
                return Step::Need(Side::Before);
            }
            if !self.after.is_ready() {
                return Step::Need(Side::After);
            }
            let order = match (&self.before.group, &self.after.group) {
                (None, None) => return Step::Done,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(after)) => before.key.cmp(&after.key),
            };
            let before = order.is_le().then(|| self.before.take()).flatten();
            let after = order.is_ge().then(|| self.after.take()).flatten();
            if let Some(change) = change(before.as_ref(), after.as_ref()) {
                return Step::Found(Box::new(Compared {
                    change,
                    before,
                    after,
                }));
            }
        }
    }
}

/// What changed from `before` to `after`, if anything did that is of interest.
fn change(before: Option<&LinkResult>, after: Option<&LinkResult>) -> Option<Change> {
    let was_broken = before.is_some_and(|before| state(before) == State::Broken);
    match (was_broken, after.map(state)) {
        (true, Some(State::Broken)) => Some(Change::StillBroken),
        (false, Some(State::Broken)) => Some(Change::NewlyBroken),
        (true, Some(State::Works) | None) => Some(Change::Fixed),
        (true, Some(State::Unclear)) => Some(Change::Unclear),
        (false, _) => None,
    }
}

/// What is known of a link; the greatest of its places' counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Works,
    Unclear,
    Broken,
}

fn state(result: &LinkResult) -> State {
    match result.verdict {
        Some(verdict) if verdict.is_broken() => State::Broken,
        Some(Verdict::Alive | Verdict::Moved) => State::Works,
        _ => State::Unclear,
    }
}

/// One run, as far as it is known.
#[derive(Debug, Default)]
struct Stream {
    /// The link at hand.
    group: Option<Group>,
    /// The first place of the one after it.
    next: Option<Group>,
    has_ended: bool,
}

/// A link, with the worst of its places.
#[derive(Debug)]
struct Group {
    key: Key,
    worst: LinkResult,
}

impl Stream {
    /// Whether all places of the link at hand are known.
    fn is_ready(&self) -> bool {
        self.next.is_some() || self.has_ended
    }

    fn feed(&mut self, result: Option<LinkResult>, side: Side) -> Result<(), ComparisonError> {
        if self.is_ready() {
            return Err(ComparisonError::NotAsked);
        }
        let Some(worst) = result else {
            self.has_ended = true;
            return Ok(());
        };
        let key = Key::of(&worst);
        match &mut self.group {
            None => self.group = Some(Group { key, worst }),
            Some(group) => match key.cmp(&group.key) {
                Ordering::Less => return Err(ComparisonError::OutOfOrder { side }),
                Ordering::Equal if state(&worst) > state(&group.worst) => group.worst = worst,
                Ordering::Equal => {}
                Ordering::Greater => self.next = Some(Group { key, worst }),
            },
        }
        Ok(())
    }

    fn take(&mut self) -> Option<LinkResult> {
        let taken = std::mem::replace(&mut self.group, self.next.take());
        taken.map(|group| group.worst)
    }
}

/// The comparison as an iterator over two sorted ones. It ends after an error.
#[derive(Debug)]
pub struct Comparison<B, A> {
    before: B,
    after: A,
    merge: Merge,
    has_failed: bool,
}

impl<B, A> Comparison<B, A>
where
    B: Iterator<Item = LinkResult>,
    A: Iterator<Item = LinkResult>,
{
    /// Compares two runs' results, each sorted by [`Key`].
    pub fn new(
        before: impl IntoIterator<IntoIter = B, Item = LinkResult>,
        after: impl IntoIterator<IntoIter = A, Item = LinkResult>,
    ) -> Comparison<B, A> {
        Comparison {
            before: before.into_iter(),
            after: after.into_iter(),
            merge: Merge::new(),
            has_failed: false,
        }
    }
}

impl<B, A> Iterator for Comparison<B, A>
where
    B: Iterator<Item = LinkResult>,
    A: Iterator<Item = LinkResult>,
{
    type Item = Result<Compared, ComparisonError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_failed {
            let side = match self.merge.step() {
                Step::Done => return None,
                Step::Found(compared) => return Some(Ok(*compared)),
                Step::Need(side) => side,
            };
            let result = match side {
                Side::Before => self.before.next(),
                Side::After => self.after.next(),
            };
            if let Err(error) = self.merge.feed(side, result) {
                self.has_failed = true;
                return Some(Err(error));
            }
        }
        None
    }
}

impl<B, A> FusedIterator for Comparison<B, A>
where
    B: Iterator<Item = LinkResult>,
    A: Iterator<Item = LinkResult>,
{
}
