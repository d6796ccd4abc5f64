//! The deterministic simulator: one fault model and one set of checkers, in two lanes.
//!
//! The *fast lane* ([`fast::Cluster`]) steps pure cores by an event heap: no tasks, no futures, the whole world a
//! `Clone` value. The *full lane* ([`full`]) runs the real asynchronous engine on madsim, over the same models of
//! links, disks and clocks. Both take a [`plan::FaultPlan`], drawn from a seed or read from a file; both end in a
//! trace hash, and the same seed always leads to the same one. It is a library of worlds: what runs in them, and what
//! must hold, is said in `holdfast-scenarios`.

pub mod check;
pub mod clock;
pub mod disk;
pub mod draw;
pub mod fast;
pub mod full;
pub mod heap;
pub mod link;
pub mod marks;
pub mod overlay;
pub mod plan;
pub mod trace;
