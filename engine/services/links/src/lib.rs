//! The broken-link checker.
