//! The full lane: the real async engine on simulated machines.
//!
//! madsim is used for an executor, for nodes whose tasks can be killed, and for its hold on libc's clock and entropy;
//! time and randomness are ours, and network, disks and clocks are the models that the fast lane uses too. One agenda
//! holds packets, timers and the plan's faults alike. One task, the pump, runs when no other task can: it takes what
//! is due at the earliest instant, moves the world's time there and lets it happen. Another, the marshal, does to
//! machines what the plan wants.
//!
//! The two types that matter are [`World`], which stands outside and pulls the plugs, and the
//! [`Host`](holdfast_host::Host) that the process on each of its machines is handed. [`run`] makes a world and runs it
//! to its end.
//!
//! # A run
//!
//! [`Settings`] hold a [`FaultPlan`](crate::plan::FaultPlan), which runs by itself. The scenario creates as many
//! machines as the plan has nodes, whose processes are started again after each restart, then clients, which no fault
//! strikes, and waits for the end:
//!
//! ```
//! use holdfast_sim::{full::{self, Settings}, plan::FaultPlan};
//! use std::time::Duration;
//!
//! let plan = FaultPlan::quiet("greeting", 7, 1, 1_000_000_000);
//! let ended = full::run(Settings::new(plan, 1), |world| async move {
//!     world.machine("server", |host| async move {
//!         let socket = host.network.bind("0.0.0.0:7".parse().unwrap()).await.unwrap();
//!         loop {
//!             let mut buffer = [0; 16];
//!             let (length, from) = socket.receive(&mut buffer).await.unwrap();
//!             socket.send_to(&buffer[..length], from).await.unwrap();
//!         }
//!     });
//!     let outside = world.clone();
//!     let client = world.client("client", move |host| async move {
//!         let server = host.network.resolve("server", 7).await.unwrap()[0];
//!         let socket = host.network.bind("0.0.0.0:0".parse().unwrap()).await.unwrap();
//!         let mut answered = 0;
//!         while !outside.is_quiescing() {
//!             socket.send_to(b"hello", server).await.unwrap();
//!             let mut buffer = [0; 16];
//!             let answer = socket.receive(&mut buffer);
//!             let answer = host.timeout(Duration::from_millis(100), answer).await;
//!             answered += u32::from(answer.is_ok());
//!         }
//!         answered
//!     });
//!     world.until_end().await;
//!     client.await.expect("the client does not panic")
//! });
//! assert!(ended.output > Some(1_000));
//! assert!(ended.failures.is_empty());
//! ```
//!
//! # What the models promise
//!
//! *Streams* are TCP as applications know it: a lost packet is sent again and delays what follows, a cut cable stalls
//! the stream until it is mended or both ends give up (`TimedOut`, after a minute), the kernel of a killed process
//! ends or resets its streams, a machine without power is silent, and one that is back resets what it does not know.
//! Reads and writes are cut short at random. *Datagrams* are lost, doubled, held and reordered as the plan says.
//!
//! *Disk jobs* run inline, one after the other, and the device time that they took passes before their caller goes
//! on. A planned power cut strikes between jobs or, as often, between two operations of one job.
//!
//! *A process* that has ended does no I/O any more, whatever its destructors try. One that ends by itself is started
//! again after a while, as a supervisor would.
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
mod entropy;
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
