use super::*;
use std::time::Duration;

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

fn report(what: &str, (count, cpu): (u64, f64)) {
    let rate = count as f64 / cpu;
    println!("{what}: {count} in {cpu:.2} CPU s, {rate:.0} a CPU second");
}

/// `cargo test -p holdfast-sim --test full speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: run it alone"]
fn speed() {
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
