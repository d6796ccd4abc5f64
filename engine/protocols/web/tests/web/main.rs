//! Tests of the crate as its users see it.

mod page;
mod robots;
mod sitemap;
mod whatwg;
