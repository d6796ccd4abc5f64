//! placeholder
pub mod clock;
pub mod draw;
pub mod full;
pub mod heap;
pub mod link;
pub mod marks;
pub mod plan;
pub mod trace;
