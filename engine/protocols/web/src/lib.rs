//! What the standards of the web say, without a network: robots.txt, the links of a page, which URLs are the same.
//!
//! Pure functions over bytes and texts: no host, no clock, no tasks. What comes from the web is never trusted: every
//! answer is bounded by a [`Limits`], malformed input gives what could be read and a typed problem, and nothing
//! panics.
//!
//! A page goes this way: [`charset`] says what its bytes mean, [`page`] finds the links, the fragments and what
//! the page says about itself, [`urls`] says for each link what it points to. Style sheets ([`css`]), sitemaps
//! and feeds ([`sitemap`]) and response headers ([`header`]) give the same [`Link`].

pub mod charset;
pub mod css;
mod fragments;
pub mod header;
mod limits;
mod link;
pub mod page;
pub mod robots;
pub mod sitemap;
pub mod soft404;
pub mod srcset;
mod text;
pub mod traps;
pub mod urls;

pub use fragments::Fragments;
pub use limits::{Limits, Problem};
pub use link::{Link, LinkKind, Rel};
pub use page::Page;
pub use robots::Robots;
pub use urls::{Scheme, Target, UrlProblem, WebTarget};
