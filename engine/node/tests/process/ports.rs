//! Ports for processes that are stopped and started again.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// Ports that one test process looks through before it comes to another's.
const PORTS: u16 = 200;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Ports on loopback that nobody listens on, and that no other test of this process is given. They lie below those that
/// systems choose for outgoing connections: a node that is down must find its ports free when it comes back.
pub fn free_ports(count: usize) -> Vec<u16> {
    // Processes with neighbouring numbers, which may well be tests too, look at ports apart.
    let first = 10_000 + (std::process::id() % 100) as u16 * PORTS;
    let candidates = (0..20_000_u16).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let ports: Vec<u16> = candidates.filter(free).take(count).collect();
    assert_eq!(ports.len(), count, "there are free ports");
    ports
}
