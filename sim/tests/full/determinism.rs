use super::*;
use holdfast_host::{OpenMode, write_all_at};
use holdfast_sim::draw::{Domain, Draws};
use std::{path::Path, time::Duration};

const SECOND: Duration = Duration::from_secs(1);
const NODES: u32 = 3;

/// Echo traffic over streams and datagrams and a durable counter on each node, while nodes are killed, lose power,
/// stop and are cut off. Everything random in it is drawn from the seed.
fn storm(seed: u64) -> Ended<u64> {
    let mut settings = rough(seed);
    settings.plan.clocks = (0..4)
        .map(|node| holdfast_sim::clock::ClockProfile {
            offset_ns: node * 1_000_000,
            drift_ppm: node as i32 * 50 - 75,
        })
        .collect();
    simulate(settings, move |world| async move {
        for node in 0..NODES {
            world.machine(&name(node), move |host| server(host, node));
        }
        idle(&world, NODES);
        let client = world.host(NODES);
        let clients: Vec<_> = (0..6)
            .map(|number| client.spawn("client", talker(client.clone(), number)))
            .collect();
        let mut draws = Draws::new(seed, Domain::Scenario, 0);
        for _ in 0..30 {
            world
                .sleep(Duration::from_millis(draws.range(50, 1_500)))
                .await;
            strike(&world, &mut draws).await;
        }
        let mut ends = 0;
        for task in clients {
            task.await;
            ends += 1;
        }
        ends
    })
}

async fn strike(world: &World, draws: &mut Draws) {
    let node = draws.range(0, u64::from(NODES)) as u32;
    let kind = draws.range(0, 5);
    match kind {
        0 => world.kill(node),
        1 => world.power_cut(node),
        2 => world.pause(node),
        3 => isolate(world, node),
        _ => world.crash_at_disk_op(node, draws.range(0, 20)),
    }
    world
        .sleep(Duration::from_millis(draws.range(1, 3_000)))
        .await;
    match kind {
        2 => world.resume(node),
        3 => heal(world),
        _ => {}
    }
    if !world.is_running(node) {
        world.restart(node);
    }
}

async fn server(host: Host, node: u32) {
    let sockets = host.network.bind(address(node)).await.unwrap();
    let datagrams = host.spawn("datagrams", async move {
        let mut buffer = [0; 2_000];
        loop {
            let (length, from) = sockets.receive(&mut buffer).await.unwrap();
            sockets.send_to(&buffer[..length], from).await.unwrap();
        }
    });
    let mut listener = host.network.listen(address(node)).await.unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        host.spawn("echo", echo(stream));
        host.blocking(|disk| {
            let file = disk.open(Path::new("count"), OpenMode::Create)?;
            let length = disk.len(file)?;
            write_all_at(disk, file, length, b"one more")?;
            disk.sync(file)?;
            disk.close(file);
            std::io::Result::Ok(())
        })
        .await
        .ok();
    }
    datagrams.await;
}

async fn talker(host: Host, number: u32) {
    use rand::Rng;
    let mut rng = host.rng("talker");
    let socket = host
        .network
        .bind(SocketAddr::new(ip(NODES), 0))
        .await
        .unwrap();
    for _ in 0..40 {
        let target = rng.random_range(0..NODES);
        let size = rng.random_range(1..20_000);
        socket
            .send_to(&[number as u8; 100], address(target))
            .await
            .unwrap();
        let talk = async {
            let mut stream = host.network.connect(address(target)).await?;
            let mut answer = vec![0; size];
            for _ in 0..5 {
                stream.write_all(&vec![number as u8; size]).await?;
                stream.read_exact(&mut answer).await?;
            }
            std::io::Result::Ok(())
        };
        // However it ends: refused, reset, too late, or well.
        let _ = host.timeout(SECOND, talk).await;
        host.sleep(Duration::from_millis(rng.random_range(1..1_000)))
            .await;
    }
}

/// Runs in a process of its own for [`equal_in_two_processes`].
#[test]
#[ignore = "a child of equal_in_two_processes"]
fn child() {
    let seed = processes::seed();
    let storm = storm(seed);
    let planned = simulate(Settings::new(plans::drawn(seed), 2), plans::ledger);
    processes::tell(&format!(
        "{:016x} {:?} {:016x} {:?}",
        storm.trace_hash, storm.counts, planned.trace_hash, planned.counts
    ));
}

#[test]
fn equal_in_two_processes() {
    processes::check_equal("determinism::child", 6);
}

#[test]
fn equal_in_one_process_in_any_order() {
    let hash = |seed| storm(seed).trace_hash;
    let (one, two) = (hash(1), hash(2));
    assert_eq!(hash(2), two);
    assert_eq!(hash(1), one);
}

#[test]
fn the_storm_strikes() {
    let ended = storm(3);
    for kind in ["kill", "power_cut", "pause"] {
        assert!(ended.counts.faults.contains_key(kind), "{:?}", ended.counts);
    }
    let links = ended.counts.links;
    assert!(links.lost > 0 && links.blocked > 0, "{links:?}");
    assert!(ended.counts.retransmissions > 100, "{:?}", ended.counts);
    assert!(ended.counts.disk_operations > 100, "{:?}", ended.counts);
}
