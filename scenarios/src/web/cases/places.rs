//! A link to what is not there, in every place that holds links; and in places that only look like it.

use super::{Case, Nature, Scene};
use crate::web::{
    Verdict,
    place::{DECOYS, PLACES, Place, fill},
};

/// A case for every place.
pub(super) fn cases() -> Vec<Case> {
    let places = PLACES.iter().map(|(name, _)| Case {
        name,
        nature: Nature::Fault,
        is_slow: false,
        needs: None,
        build: in_place,
    });
    let decoys = DECOYS.iter().map(|(name, _)| Case {
        name,
        nature: Nature::Fine,
        is_slow: false,
        needs: None,
        build: as_decoy,
    });
    places.chain(decoys).collect()
}

fn in_place(s: &mut Scene<'_>) {
    let href = s.path("");
    let place = Place::named(s.case());
    s.link(place, &href, &[Verdict::Dead]);
}

fn as_decoy(s: &mut Scene<'_>) {
    let href = s.path("");
    let mut decoys = DECOYS.iter();
    let (_, template) = decoys
        .find(|(name, _)| *name == s.case())
        .expect("cases are made of the list");
    s.insert(fill(template, &href));
    let here = s.here();
    s.expect(&here, Place::OwnPage, &href, &[]);
}
