//! The client against servers on loopback: hyper's, and scripts that say what no server should.

mod bodies;
mod malformed;
mod politeness;
mod redirects;
mod support;
mod tls;
mod transport;
