//! What a correct checker must find, and how a checker's findings are held against it.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a checker may say of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is there.
    Alive,
    /// It is there, and has said that it moved for good (301, 308).
    Moved,
    /// It is not there: 404, 410, errors that do not pass, nobody who answers, no such name.
    Dead,
    /// Whoever answers lets no checker in: a bot wall, a login.
    Blocked,
    /// Whoever answers asks to come later, and goes on doing so.
    Throttled,
    /// It failed, and worked when it was asked again.
    Flaky,
    /// The document is there, what the fragment names is not.
    FragmentMissing,
    /// It says 200 and shows its page for what is missing.
    Soft404,
    /// Redirects that lead nowhere.
    RedirectLoop,
    /// No trust in whoever answers.
    TlsProblem,
    /// The link is not a URL.
    InvalidUrl,
    /// The site asks not to be asked for it.
    Excluded,
    /// Nothing that can be asked for: `mailto:` and its like.
    Unverifiable,
}

impl Verdict {
    /// Whether a person has to repair the link: `None` where that is open, because a wall hides what is behind it.
    pub fn is_broken(self) -> Option<bool> {
        use Verdict::*;
        match self {
            Dead | FragmentMissing | Soft404 | RedirectLoop | TlsProblem | InvalidUrl => Some(true),
            Alive | Moved | Flaky | Excluded | Unverifiable => Some(false),
            Blocked | Throttled => None,
        }
    }
}

/// What is known of one target of links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The target: a URL in the form of the WHATWG URL standard, fragment included; as it is written if it is none.
    pub target: String,
    /// The verdicts that are right, the best first. Empty: it is no link, and any report of it is wrong.
    pub verdicts: Vec<Verdict>,
    /// The case that made it, e.g. `redirect-loop`; `page` and `asset` for what is ordinary.
    pub case: String,
}

impl Expectation {
    /// Whether a checker that calls it fine is wrong.
    pub fn is_fault(&self) -> bool {
        let mut verdicts = self.verdicts.iter();
        !self.verdicts.is_empty() && verdicts.all(|v| v.is_broken() == Some(true))
    }

    /// Whether a checker that calls it broken is wrong.
    pub fn is_fine(&self) -> bool {
        self.verdicts.iter().all(|v| v.is_broken() == Some(false))
    }
}

/// Everything that is known of a web's targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// By target.
    targets: BTreeMap<String, Expectation>,
}

/// How a checker that only tells broken from fine did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Faults that it reported, by their cases.
    pub found: Vec<String>,
    /// Faults that it did not report, by their cases.
    pub missed: Vec<String>,
    /// What it reported without need: targets with their cases.
    pub false_alarms: Vec<String>,
    /// What it reported that the web does not know.
    pub unknown: Vec<String>,
}

/// How a checker with verdicts did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Of what.
    pub target: String,
    /// The case.
    pub case: String,
    /// What it said; `None` for nothing.
    pub said: Option<Verdict>,
    /// What would have been right.
    pub right: Vec<Verdict>,
}

impl Truth {
    /// Adds what is known of a target.
    ///
    /// # Panics
    /// When something else is known of it already.
    pub(super) fn add(&mut self, target: &str, case: &str, verdicts: &[Verdict]) {
        let expectation = Expectation {
            target: target.to_string(),
            verdicts: verdicts.to_vec(),
            case: case.to_string(),
        };
        let known = self.targets.entry(target.to_string());
        let known = known.or_insert_with(|| expectation.clone());
        assert_eq!(known.verdicts, expectation.verdicts, "{target}");
    }

    /// What is known of a target.
    pub fn get(&self, target: &str) -> Option<&Expectation> {
        self.targets.get(target)
    }

    /// All, by target.
    pub fn iter(&self) -> impl Iterator<Item = &Expectation> {
        self.targets.values()
    }

    /// How many faults there are.
    pub fn faults(&self) -> usize {
        self.iter().filter(|e| e.is_fault()).count()
    }

    /// The part about `targets`.
    pub fn only(&self, targets: &BTreeSet<String>) -> Truth {
        let kept = self.targets.iter().filter(|(t, _)| targets.contains(*t));
        Truth {
            targets: kept.map(|(t, e)| (t.clone(), e.clone())).collect(),
        }
    }

    /// Holds the targets that a checker calls broken against the truth. Those that are URLs may be written in any way
    /// that parses to the same; a fault counts as found only under its own target, fragment included.
    pub fn score<'a>(&self, broken: impl IntoIterator<Item = &'a str>) -> Score {
        let reported: BTreeSet<String> = broken.into_iter().map(normal).collect();
        let mut score = Score::default();
        for expectation in self.iter().filter(|e| e.is_fault()) {
            let side = match reported.contains(&expectation.target) {
                true => &mut score.found,
                false => &mut score.missed,
            };
            side.push(expectation.case.clone());
        }
        for target in reported {
            match self.targets.get(&target) {
                None => score.unknown.push(target),
                Some(e) if e.is_fine() => {
                    score.false_alarms.push(format!("{} ({target})", e.case));
                }
                Some(_) => {}
            }
        }
        score
    }

    /// Holds verdicts against the truth: every target must have one that is right, what is no link none.
    pub fn mismatches(&self, said: &BTreeMap<String, Verdict>) -> Vec<Mismatch> {
        let said: BTreeMap<String, Verdict> = said.iter().map(|(t, v)| (normal(t), *v)).collect();
        let wrong = self.iter().filter_map(|expectation| {
            let said = said.get(&expectation.target).copied();
            let right = match said {
                Some(verdict) => expectation.verdicts.contains(&verdict),
                None => expectation.verdicts.is_empty(),
            };
            (!right).then(|| Mismatch {
                target: expectation.target.clone(),
                case: expectation.case.clone(),
                said,
                right: expectation.verdicts.clone(),
            })
        });
        wrong.collect()
    }
}

/// A target in the form in which the truth has it.
pub fn normal(target: &str) -> String {
    url::Url::parse(target).map_or_else(|_| target.trim().to_string(), String::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::*;

    fn truth() -> Truth {
        let mut truth = Truth::default();
        truth.add("http://a/gone", "gone", &[Dead]);
        truth.add("http://a/fine", "page", &[Alive]);
        truth.add("http://a/wall", "wall", &[Blocked]);
        truth.add("http://a/decoy", "decoy", &[]);
        truth
    }

    #[test]
    fn what_is_reported_is_found_missed_or_a_false_alarm() {
        let score = truth().score(["http://a/gone", "http://a/wall"]);
        assert_eq!(score.found, ["gone"]);
        assert!(score.missed.is_empty() && score.false_alarms.is_empty());
        let score = truth().score(["HTTP://A/./fine", "http://a/decoy", "http://b/"]);
        assert_eq!(score.missed, ["gone"]);
        assert_eq!(score.false_alarms.len(), 2);
        assert_eq!(score.unknown, ["http://b/"]);
    }

    #[test]
    fn every_target_wants_a_right_verdict_and_a_decoy_none() {
        let right = [("gone", Dead), ("fine", Alive), ("wall", Blocked)];
        let mut said: BTreeMap<String, Verdict> =
            right.map(|(t, v)| (format!("http://a/{t}"), v)).into();
        assert_eq!(truth().mismatches(&said), []);
        said.insert("http://a/decoy".into(), Dead);
        said.insert("http://a/fine".into(), Moved);
        said.remove("http://a/gone");
        let wrong = truth().mismatches(&said);
        let wrong: Vec<_> = wrong.iter().map(|m| (m.case.as_str(), m.said)).collect();
        let expected = [("decoy", Some(Dead)), ("page", Some(Moved)), ("gone", None)];
        assert_eq!(wrong, expected);
    }
}
