//! What may be wrong with a link, or look wrong: one small function a case.

mod answers;
mod documents;
mod fragments;
mod places;
mod redirects;
mod robots;
mod urls;

pub(super) use robots::{Policy, set as set_robots};

use super::build::{Role, Scene};

/// Whether a case has a fault to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// Exactly one target that a checker must report.
    Fault,
    /// Nothing to report, though careless checkers do.
    Fine,
    /// Honest checkers differ; they must survive it.
    Open,
}

/// One kind of thing to meet on the web.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) nature: Nature,
    /// A client has to wait for its own timeout, or for seconds.
    pub(super) is_slow: bool,
    /// An origin without which it cannot be set.
    pub(super) needs: Option<Role>,
    pub(super) build: fn(&mut Scene<'_>),
}

const fn case(name: &'static str, nature: Nature, build: fn(&mut Scene<'_>)) -> Case {
    Case {
        name,
        nature,
        is_slow: false,
        needs: None,
        build,
    }
}

const fn fault(name: &'static str, build: fn(&mut Scene<'_>)) -> Case {
    case(name, Nature::Fault, build)
}

const fn fine(name: &'static str, build: fn(&mut Scene<'_>)) -> Case {
    case(name, Nature::Fine, build)
}

const fn open(name: &'static str, build: fn(&mut Scene<'_>)) -> Case {
    case(name, Nature::Open, build)
}

impl Case {
    const fn slow(mut self) -> Self {
        self.is_slow = true;
        self
    }

    const fn needing(mut self, role: Role) -> Self {
        self.needs = Some(role);
        self
    }
}

/// The plainest fault, to fill up with.
pub(super) fn plain() -> Case {
    answers::CASES[0]
}

/// Every case.
pub(super) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(answers::CASES);
    all.extend(documents::CASES);
    all.extend(fragments::CASES);
    all.extend(redirects::CASES);
    all.extend(urls::CASES);
    all.extend(robots::CASES);
    all.extend(places::cases());
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::{StaticShape, Web, build::Builder};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = all().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn a_case_has_one_fault_or_none_as_it_says() {
        for case in all() {
            let mut builder = Builder::new(1);
            crate::web::shape::lay_out(&mut builder, &StaticShape::for_tests(), 3);
            builder.set(0, &case, 0);
            let web = Web::from(builder.finish(8));
            let expected = usize::from(case.nature == Nature::Fault);
            let truth = web.truth();
            assert_eq!(truth.faults(), expected, "{}", case.name);
            let of_case = |e: &&crate::web::Expectation| e.case == case.name;
            let open = truth
                .iter()
                .filter(of_case)
                .any(|e| !e.is_fine() && !e.is_fault());
            assert_eq!(open, case.nature == Nature::Open, "{}", case.name);
        }
    }
}
