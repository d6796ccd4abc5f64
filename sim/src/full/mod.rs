//! The full lane: the real async engine on simulated machines.
//!
//! madsim is used for an executor, for nodes whose tasks can be killed, and for its hold on libc's clock and entropy;
//! time, network, disk, clocks and randomness are ours, the models that the fast lane uses too. One [`Agenda`]
//! (agenda::Agenda) holds packets and timers alike. One task, the pump, runs when no other task can: it takes what is
//! due at the earliest instant, moves the world's time there and lets it happen.
//!
//! The two types that matter are [`World`], which stands outside and pulls the plugs, and the
//! [`Host`](holdfast_host::Host) that each of its nodes is handed. [`run`] makes a world and runs it to its end.
//!
//! One run, one process, where two runs are compared: libraries keep process-wide counters, and the third run in a
//! process need not equal the first. In one process every run at least has a fresh thread of its own.

#[cfg(not(madsim))]
compile_error!(
    "the simulator needs madsim's simulation mode: build with `--cfg madsim`. The workspace's .cargo/config.toml \
     sets it; a RUSTFLAGS environment variable replaces that setting, so add `--cfg=madsim` to it or unset it."
);

mod agenda;
mod connection;
mod core;
mod disk;
mod endpoint;
mod faults;
mod gate;
mod host;
mod net;
mod record;
mod run;
mod stream;
mod tasks;
mod transport;
mod world;

pub use self::core::Counts;
pub use run::{Ended, Settings, run};
pub use tasks::OnPanic;
pub use world::{LEADER, MARKS, Returned, World};
