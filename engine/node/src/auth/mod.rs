//! Who may ask for what.

mod scope;

pub use scope::{Grant, Grants, Scope, UnknownScope};
