//! The full lane's own tests: that its machines, network, clocks and disks do what they say.

mod conformance;
mod datagrams;
mod determinism;
mod disks;
mod http;
mod machines;
mod plans;
mod processes;
mod speed;
mod streams;
mod time;

use holdfast_host::{Host, Stream};
use holdfast_sim::{
    full::{Ended, Settings, World, run},
    link::Disturbance,
    plan::{FaultPlan, PacketOrder},
};
use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PORT: u16 = 80;

const HOUR_NS: u64 = 3_600_000_000_000;

fn ip(node: u32) -> IpAddr {
    World::ip(node)
}

fn name(node: u32) -> String {
    format!("node-{node}")
}

fn address(node: u32) -> SocketAddr {
    SocketAddr::new(ip(node), PORT)
}

/// A node that does nothing by itself.
fn idle(world: &World, node: u32) -> u32 {
    let number = world.machine(&name(node), |_| std::future::pending());
    assert_eq!(number, node);
    number
}

/// A node that sends back what it receives, on any number of streams.
fn echo_server(world: &World, node: u32) -> u32 {
    let number = world.machine(&name(node), |host| async move {
        let mut listener = host
            .network
            .listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT))
            .await
            .expect("the port is free");
        loop {
            let (stream, _) = listener.accept().await.expect("accept never fails");
            host.spawn("echo", echo(stream));
        }
    });
    assert_eq!(number, node);
    number
}

async fn echo(mut stream: Stream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length) = stream.read(&mut buffer).await {
        if length == 0 || stream.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
}

async fn connect(host: &Host, node: u32) -> Stream {
    host.network
        .connect(address(node))
        .await
        .expect("the server listens")
}

/// Nothing gets to or from the node any more.
fn isolate(world: &World, node: u32) {
    let endpoints = vec![node];
    world.links(|links| links.disturb(1, Disturbance::Isolate { endpoints }));
}

/// Nothing gets from `from` to `to` any more.
fn cut_one_way(world: &World, from: u32, to: u32) {
    let (from, to) = (vec![from], vec![to]);
    world.links(|links| links.disturb(1, Disturbance::OneWay { from, to }));
}

/// Ends what [`isolate`] or [`cut_one_way`] began.
fn heal(world: &World) {
    world.links(|links| links.heal(1));
}

/// A world of up to four machines on a quiet network, in which nothing happens by itself.
fn calm(seed: u64) -> Settings {
    let mut settings = Settings::new(FaultPlan::quiet("full-lane", seed, 4, HOUR_NS), 0);
    settings.restart_after = None;
    settings
}

/// The same, on a network that loses, doubles and reorders.
fn rough(seed: u64) -> Settings {
    let mut settings = calm(seed);
    settings.plan.network.loss = 0.05;
    settings.plan.network.duplication = 0.05;
    settings.plan.network.duplicate_within_ns = 10_000_000_000;
    settings.plan.network.order = PacketOrder::Independent;
    settings.plan.network.variation = 3.0;
    settings
}

/// Runs `scenario`, which must end and leave no failure behind.
fn simulate<T, F>(
    settings: Settings,
    scenario: impl FnOnce(World) -> F + Send + 'static,
) -> Ended<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let ended = run(settings, scenario);
    assert_eq!(ended.failures, []);
    assert!(ended.output.is_some());
    ended
}
