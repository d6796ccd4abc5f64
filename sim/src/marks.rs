//! What a scenario must have reached: a workload that never gets a leader killed proves nothing about that.
//!
//! A scenario declares its marks as one list. Code reports a mark by [`sometimes!`](crate::sometimes), which finds its
//! place in the list while compiling, or by [`Marks::hit`] where the name comes from elsewhere. One that was declared
//! and never reached in any run of a suite fails the suite.

use std::collections::BTreeMap;

/// The place of one mark in its scenario's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

impl Mark {
    /// Finds `name` in `names`; in a `const`, an undeclared name does not compile.
    ///
    /// # Panics
    /// When the name is not declared.
    pub const fn of(names: &[&str], name: &str) -> Mark {
        let mut place = 0;
        while place < names.len() {
            if same(names[place].as_bytes(), name.as_bytes()) {
                return Mark(place);
            }
            place += 1;
        }
        panic!("a mark that the scenario does not declare");
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// How often each declared mark was reached in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    names: &'static [&'static str],
    counts: Vec<u64>,
}

impl Marks {
    /// No mark reached yet.
    pub fn new(names: &'static [&'static str]) -> Self {
        Marks {
            names,
            counts: vec![0; names.len()],
        }
    }

    /// The mark was reached: one addition.
    #[inline]
    pub fn reached(&mut self, mark: Mark) {
        self.counts[mark.0] += 1;
    }

    /// The mark of this name was reached: a search in the list.
    ///
    /// # Panics
    /// When the name is not declared: a misspelt mark would never count.
    pub fn hit(&mut self, name: &str) {
        match self.names.iter().position(|declared| *declared == name) {
            Some(place) => self.counts[place] += 1,
            None => panic!("the mark `{name}` is not declared by this scenario"),
        }
    }

    /// How often the mark of this name was reached; `None` when it is not declared.
    pub fn count(&self, name: &str) -> Option<u64> {
        let place = self.names.iter().position(|declared| *declared == name)?;
        Some(self.counts[place])
    }

    /// All declared marks with their counts, those never reached with 0: as a
    /// [`SeedRecord`](holdfast_record::SeedRecord) wants them.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.names
            .iter()
            .map(|name| name.to_string())
            .zip(self.counts.iter().copied())
            .collect()
    }
}

/// Reports that a mark was reached: `sometimes!(world.marks, MARKS, "leader killed")`.
///
/// `MARKS` is the `const` list that the scenario declares; a name that is not in it does not compile.
#[macro_export]
macro_rules! sometimes {
    ($marks:expr, $names:expr, $name:literal) => {{
        const MARK: $crate::marks::Mark = $crate::marks::Mark::of($names, $name);
        $marks.reached(MARK);
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["leader killed", "leader paused", "log repaired"];

    #[test]
    fn counts_name_what_was_never_reached() {
        let mut marks = Marks::new(NAMES);
        sometimes!(marks, NAMES, "leader paused");
        marks.hit("leader paused");
        marks.hit("log repaired");
        let counts: Vec<_> = marks.counts().into_iter().collect();
        assert_eq!(
            counts,
            [
                ("leader killed".to_string(), 0),
                ("leader paused".to_string(), 2),
                ("log repaired".to_string(), 1),
            ]
        );
        assert_eq!(marks.count("leader killed"), Some(0));
        assert_eq!(marks.count("leader thrilled"), None);
    }

    #[test]
    #[should_panic(expected = "`leader thrilled` is not declared")]
    fn a_misspelt_mark_panics() {
        Marks::new(NAMES).hit("leader thrilled");
    }
}
