//! Reports, seen from outside: golden files for every format, and what strangers' text may do to them.

mod escape;
mod golden;
mod html;
mod sample;
mod sarif;
mod shape;
