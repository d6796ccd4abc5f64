//! Reports, seen from outside: golden files for every format, what strangers' text may do to them, and comparisons.

mod compare;
mod escape;
mod golden;
mod html;
mod sample;
mod sarif;
mod shape;
