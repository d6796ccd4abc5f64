use super::*;
use holdfast_host::{OpenMode, write_all_at};
use std::{path::Path, time::Duration};
use tokio::sync::{mpsc, watch};

/// What `work` did and the CPU seconds that this process used meanwhile.
fn measured(work: impl FnOnce() -> u64) -> (u64, f64) {
    let before = process_cpu();
    let done = work();
    (done, process_cpu() - before)
}

#[allow(
    clippy::disallowed_methods,
    reason = "measures the simulator from outside of any simulation"
)]
fn process_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let after_name = stat.rsplit_once(')').expect("the name ends").1;
    let fields: Vec<_> = after_name.split_whitespace().collect();
    // User and system time, in hundredths of a second.
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

fn stream_echo(clients: u32, rounds: u32, size: usize) -> u64 {
    let ended = simulate(calm(1), move |world| async move {
        for node in 0..3 {
            echo_server(&world, node);
        }
        idle(&world, 3);
        let host = world.host(3);
        let tasks: Vec<_> = (0..clients)
            .map(|number| {
                let talker = host.clone();
                host.spawn("client", async move {
                    let mut stream = connect(&talker, number % 3).await;
                    let (question, mut answer) = (vec![7; size], vec![0; size]);
                    for _ in 0..rounds {
                        stream.write_all(&question).await.unwrap();
                        stream.read_exact(&mut answer).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
    ended.counts.segments
}

fn datagram_echo(clients: u32, rounds: u32) -> u64 {
    let ended = simulate(calm(1), move |world| async move {
        world.machine(&name(0), |host| async move {
            let socket = host.network.bind(address(0)).await.unwrap();
            let mut buffer = [0; 100];
            loop {
                let (length, from) = socket.receive(&mut buffer).await.unwrap();
                socket.send_to(&buffer[..length], from).await.unwrap();
            }
        });
        idle(&world, 1);
        let host = world.host(1);
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                let talker = host.clone();
                host.spawn("client", async move {
                    let own = SocketAddr::new(ip(1), 0);
                    let socket = talker.network.bind(own).await.unwrap();
                    let mut buffer = [0; 100];
                    for _ in 0..rounds {
                        socket.send_to(&[1; 32], address(0)).await.unwrap();
                        socket.receive(&mut buffer).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
    ended.counts.datagrams
}

fn sleeps(sleepers: u64, rounds: u64) -> u64 {
    simulate(calm(1), move |world| async move {
        let host = world.host(idle(&world, 0));
        let tasks: Vec<_> = (0..sleepers)
            .map(|number| {
                let sleeper = host.clone();
                host.spawn("sleeper", async move {
                    for _ in 0..rounds {
                        // As a server does for each request: a long timer that is hardly ever needed.
                        let short = sleeper.sleep(Duration::from_micros(1_000 + number));
                        let _ = sleeper.timeout(Duration::from_secs(30), short).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
    sleepers * rounds
}

/// What five replicas do under a hundred writes a second, without the replicas: a leader syncs and sends each write
/// over a stream to four followers, who sync and confirm; every 50 ms it sends them a heartbeat; two clients write
/// over streams of their own. Says how many writes were answered.
fn replication(seconds: u64, profile: impl FnOnce(&mut FaultPlan)) -> u64 {
    let mut plan = FaultPlan::quiet("speed", 1, 5, seconds * 1_000_000_000);
    plan.liveness_ns = 2_000_000_000;
    profile(&mut plan);
    let settings = Settings::new(plan, 2);
    let ended = simulate(settings, |world| async move {
        for node in 0..LEADING {
            world.machine(&name(node), follower);
        }
        world.machine(&name(LEADING), leader);
        let clients: Vec<_> = (0..2)
            .map(|number| {
                let outside = world.clone();
                world.client(&format!("client-{number}"), |host| writer(outside, host))
            })
            .collect();
        world.until_end().await;
        let mut answered = 0;
        for client in clients {
            answered += client.await.unwrap();
        }
        answered
    });
    ended.output.unwrap()
}

/// The machine that is created last leads.
const LEADING: u32 = 4;

async fn store(host: &Host, bytes: Vec<u8>) {
    host.blocking(move |disk| {
        let file = disk.open(Path::new("log"), OpenMode::Create).unwrap();
        let at = disk.len(file).unwrap() % (1 << 20);
        write_all_at(disk, file, at, &bytes).unwrap();
        disk.sync(file).unwrap();
        disk.close(file);
    })
    .await;
}

async fn follower(host: Host) {
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT);
    let mut listener = host.network.listen(any).await.unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        let follower = host.clone();
        host.spawn("follower", async move {
            let mut message = [0; 200];
            while stream.read_exact(&mut message).await.is_ok() {
                if message[0] == 1 {
                    store(&follower, message.to_vec()).await;
                }
                if stream.write_all(&message[..40]).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn leader(host: Host) {
    let mut confirmations = Vec::new();
    let mut outboxes = Vec::new();
    for node in 0..LEADING {
        let (send, mut outbox) = mpsc::unbounded_channel::<[u8; 200]>();
        let (confirm, confirmed) = watch::channel(0u64);
        let sender = host.clone();
        host.spawn("outbox", async move {
            let stream = connect(&sender, node).await;
            let (mut read, mut write) = tokio::io::split(stream);
            sender.spawn("confirmations", async move {
                let mut answer = [0; 40];
                while read.read_exact(&mut answer).await.is_ok() {
                    confirm.send_modify(|count| *count += u64::from(answer[0]));
                }
            });
            while let Some(message) = outbox.recv().await {
                if write.write_all(&message).await.is_err() {
                    return;
                }
            }
        });
        outboxes.push(send);
        confirmations.push(confirmed);
    }
    let hearts = (host.clone(), outboxes.clone());
    host.spawn("heartbeat", async move {
        loop {
            hearts.0.sleep(Duration::from_millis(50)).await;
            for outbox in &hearts.1 {
                let _ = outbox.send([0; 200]);
            }
        }
    });
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT);
    let mut listener = host.network.listen(any).await.unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        let (host, outboxes) = (host.clone(), outboxes.clone());
        let mut quorum = confirmations[1].clone();
        host.clone().spawn("session", async move {
            let mut message = [1; 200];
            while stream.read_exact(&mut message).await.is_ok() {
                message[0] = 1;
                for outbox in &outboxes {
                    let _ = outbox.send(message);
                }
                let before = *quorum.borrow_and_update();
                store(&host, message.to_vec()).await;
                quorum.wait_for(|count| *count > before).await.unwrap();
                if stream.write_all(&message[..100]).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn writer(outside: World, host: Host) -> u64 {
    host.sleep(Duration::from_millis(100)).await;
    let mut stream = connect(&host, LEADING).await;
    let mut answered = 0;
    while !outside.is_quiescing() {
        stream.write_all(&[1; 200]).await.unwrap();
        stream.read_exact(&mut [0; 100]).await.unwrap();
        answered += 1;
        host.sleep(Duration::from_millis(17)).await;
    }
    answered
}

fn report(what: &str, (count, cpu): (u64, f64)) {
    let rate = count as f64 / cpu;
    println!("{what}: {count} in {cpu:.2} CPU s, {rate:.0} a CPU second");
}

/// `cargo test -p holdfast-sim --test full speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: run it alone"]
fn speed() {
    const SECONDS: u64 = 300;
    for (what, network) in [("quiet", calm(1)), ("rough", rough(1))] {
        let network = network.plan.network;
        let (writes, cpu) = measured(|| replication(SECONDS, |plan| plan.network = network));
        let (pace, rate) = (SECONDS as f64 / cpu, writes / SECONDS);
        println!("replication, {what} network: {pace:.0} simulated s a CPU s at {rate} writes a s");
    }
    report(
        "datagrams, 1 client",
        measured(|| datagram_echo(1, 200_000)),
    );
    report(
        "datagrams, 100 clients",
        measured(|| datagram_echo(100, 3_000)),
    );
    report(
        "segments, 4 clients, 100 B",
        measured(|| stream_echo(4, 50_000, 100)),
    );
    report(
        "segments, 100 clients, 100 B",
        measured(|| stream_echo(100, 3_000, 100)),
    );
    report(
        "segments, 20 clients, 6 KB",
        measured(|| stream_echo(20, 3_000, 6_000)),
    );
    report(
        "sleeps with a timeout each, 1,000 tasks",
        measured(|| sleeps(1_000, 500)),
    );
}
