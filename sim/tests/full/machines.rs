use super::*;
use holdfast_host::TaskEnd;
use holdfast_sim::full::OnPanic;
use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

const SECOND: Duration = Duration::from_secs(1);

/// What a client that waits for an answer sees of its server's death.
fn seen_by_client(
    seed: u64,
    death: impl Fn(&World) + Send + 'static,
) -> (Option<ErrorKind>, Duration) {
    simulate(calm(seed), move |world| async move {
        echo_server(&world, 0);
        idle(&world, 1);
        let mut stream = connect(&world.host(1), 0).await;
        world.sleep(SECOND).await;
        death(&world);
        let begun = world.now();
        // Ends at once, or when the client's kernel learns that nobody is there.
        let ended = loop {
            if let Err(error) = stream.write_all(b"hello").await {
                break Err(error);
            }
            let host = world.host(1);
            match host.timeout(SECOND, stream.read(&mut [0; 8])).await {
                Ok(read) => break read,
                Err(_) => continue,
            }
        };
        let seen = ended.err().map(|error| error.kind());
        (seen, world.now() - begun)
    })
    .output
    .unwrap()
}

#[test]
fn a_killed_process_resets_or_ends_its_streams_at_once() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (error, after) = seen_by_client(seed, |world| world.kill(0));
        assert!(after < SECOND, "the kernel of a killed process answers");
        seen.insert(error);
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [None, Some(ErrorKind::ConnectionReset)],
        "both happen"
    );
}

#[test]
fn a_machine_without_power_is_silent() {
    let (error, after) = seen_by_client(1, |world| world.power_cut(0));
    assert_eq!(error, Some(ErrorKind::TimedOut));
    assert!(after >= 60 * SECOND);
}

#[test]
fn a_machine_that_is_back_does_not_know_old_streams() {
    let (error, after) = seen_by_client(1, |world| {
        world.power_cut(0);
        world.restart(0);
    });
    assert_eq!(error, Some(ErrorKind::ConnectionReset));
    assert!(after < SECOND);
}

#[test]
fn connections_to_the_dead_are_refused_and_to_the_powerless_not_answered() {
    simulate(calm(1), |world| async move {
        echo_server(&world, 0);
        idle(&world, 1);
        let host = world.host(1);
        world.kill(0);
        let refused = host.network.connect(address(0)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        world.power_cut(0);
        let begun = world.now();
        let silent = host.network.connect(address(0)).await.unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::TimedOut);
        assert!(world.now() - begun >= 60 * SECOND);
        world.restart(0);
        drop(connect(&host, 0).await);
    });
}

/// Says goodbye when dropped, as a destructor that flushes would.
struct Goodbye(Host, Option<Stream>);

impl Drop for Goodbye {
    fn drop(&mut self) {
        drop(self.1.take());
        let host = self.0.clone();
        self.0.spawn("goodbye", async move {
            let mut stream = connect(&host, 0).await;
            let _ = stream.write_all(b"from the dead").await;
        });
    }
}

#[test]
fn nothing_leaves_a_dead_process() {
    for seed in 0..10 {
        let segments = simulate(calm(seed), |world| async move {
            echo_server(&world, 0);
            world.machine(&name(1), |host| async move {
                let stream = connect(&host, 0).await;
                let _goodbye = Goodbye(host.clone(), Some(stream));
                std::future::pending::<()>().await;
            });
            world.sleep(SECOND).await;
            world.power_cut(1);
            world.sleep(100 * SECOND).await;
            let before = world.counts().segments;
            world.restart(1);
            world.sleep(SECOND).await;
            world.power_cut(1);
            world.sleep(100 * SECOND).await;
            world.counts().segments - before
        });
        assert_eq!(segments.output, Some(0));
    }
}

#[test]
fn each_incarnation_runs_init_once_and_old_tasks_never_again() {
    let (starts, ticks) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (starts_seen, ticks_seen) = (starts.clone(), ticks.clone());
    simulate(calm(1), |world| async move {
        world.machine(&name(0), move |host| {
            let (starts, ticks) = (starts.clone(), ticks.clone());
            async move {
                starts.fetch_add(1, Relaxed);
                loop {
                    host.sleep(SECOND).await;
                    ticks.fetch_add(1, Relaxed);
                }
            }
        });
        world.sleep(SECOND * 7 / 2).await;
        world.kill(0);
        assert!(!world.is_running(0));
        world.sleep(100 * SECOND).await;
        world.restart(0);
        world.sleep(SECOND * 5 / 2).await;
        world.restart(0);
        world.sleep(SECOND * 3 / 2).await;
    });
    assert_eq!(starts_seen.load(Relaxed), 3);
    assert_eq!(ticks_seen.load(Relaxed), 3 + 2 + 1);
}

#[test]
fn a_process_whose_main_returns_is_gone_with_its_tasks() {
    simulate(calm(1), |world| async move {
        world.machine(&name(0), |host| async move {
            let mut listener = host.network.listen(address(0)).await.unwrap();
            host.spawn("acceptor", async move {
                let _ = listener.accept().await;
            });
            host.sleep(SECOND).await;
        });
        idle(&world, 1);
        let _early = connect(&world.host(1), 0).await;
        world.sleep(2 * SECOND).await;
        assert!(!world.is_running(0));
        let refused = world.host(1).network.connect(address(0)).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_panic_is_a_failure_and_ends_the_process() {
    let ended = run(calm(1), |world| async move {
        world.machine(&name(0), |host| async move {
            host.spawn("careless", async {
                panic!("index {} out of bounds", 7);
            });
            std::future::pending::<()>().await;
        });
        world.sleep(SECOND).await;
        world.is_running(0)
    });
    assert_eq!(ended.output, Some(false));
    let [failure] = &ended.failures[..] else {
        panic!("one failure, not {:?}", ended.failures);
    };
    assert_eq!(failure.property, "no-panic");
    assert_eq!(failure.node, Some(0));
    let message = &failure.message;
    assert!(message.contains("task `careless` panicked: index 7 out of bounds"));
    assert!(message.contains("machines.rs"), "{message}");
}

#[test]
fn a_panic_can_be_kept_to_its_task() {
    simulate(calm(1), |world| async move {
        let node = idle(&world, 0);
        world.on_panic(node, OnPanic::TaskEnds);
        let task = world
            .host(node)
            .spawn("careless", async { panic!("as asked") });
        assert_eq!(task.await, TaskEnd::Panicked);
        assert!(world.is_running(node));
    });
}

#[test]
fn a_paused_process_does_nothing_while_its_kernel_receives() {
    simulate(calm(1), |world| async move {
        echo_server(&world, 0);
        let ticks = Arc::new(AtomicU32::new(0));
        let ticking = ticks.clone();
        let server = world.host(0);
        let clock = server.clone();
        server.spawn("ticker", async move {
            loop {
                clock.sleep(SECOND).await;
                ticking.fetch_add(1, Relaxed);
            }
        });
        idle(&world, 1);
        let host = world.host(1);
        let mut stream = connect(&host, 0).await;
        world.sleep(SECOND / 2).await;
        world.pause(0);
        // Far longer than an unacknowledged stream lives: the kernel acknowledges.
        stream.write_all(&[1; 10_000]).await.unwrap();
        let mut answer = vec![0; 10_000];
        let early = host
            .timeout(200 * SECOND, stream.read_exact(&mut answer))
            .await;
        assert!(early.is_err(), "a stopped process does not answer");
        assert_eq!(ticks.load(Relaxed), 0);
        let late_client = connect(&host, 0).await;
        world.resume(0);
        stream.read_exact(&mut answer).await.unwrap();
        world.sleep(SECOND / 4).await;
        assert_eq!(ticks.load(Relaxed), 1, "one overdue sleep, not two hundred");
        drop(late_client);
    });
}

#[test]
fn a_paused_process_can_be_killed_and_restarted() {
    simulate(calm(1), |world| async move {
        echo_server(&world, 0);
        idle(&world, 1);
        let host = world.host(1);
        drop(connect(&host, 0).await);
        world.pause(0);
        world.sleep(SECOND).await;
        world.kill(0);
        world.restart(0);
        let mut stream = connect(&host, 0).await;
        stream.write_all(b"again").await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
    });
}

#[test]
fn aborting_ends_a_task_at_its_await() {
    simulate(calm(1), |world| async move {
        let host = world.host(idle(&world, 0));
        let sleeper = host.clone();
        let task = host.spawn("sleeper", async move { sleeper.sleep(100 * SECOND).await });
        world.sleep(SECOND).await;
        task.abort();
        assert_eq!(task.await, TaskEnd::Aborted);
        assert!(world.now() < 2 * SECOND);
        world.kill(0);
        let late = host.spawn("late", async { panic!("the dead do not run") });
        assert_eq!(late.await, TaskEnd::Aborted);
    });
}

#[test]
fn a_world_that_has_ended_leaves_nothing_behind() {
    let token = Arc::new(());
    let (held, held_by_client) = (token.clone(), token.clone());
    let mut settings = calm(1);
    settings.clients = 1;
    settings.plan.nodes = 1;
    simulate(settings, |world| async move {
        let outside = world.clone();
        world.machine(&name(0), move |host| {
            let (outside, held) = (outside.clone(), held.clone());
            async move {
                loop {
                    host.sleep(SECOND).await;
                    outside.record(0, 256, Arc::strong_count(&held) as u64, 0);
                }
            }
        });
        let outside = world.clone();
        drop(world.client("client", |host| async move {
            host.sleep(100 * SECOND).await;
            outside.record(1, 256, Arc::strong_count(&held_by_client) as u64, 0);
        }));
        world.sleep(10 * SECOND).await;
    });
    assert_eq!(Arc::strong_count(&token), 1);
}

#[test]
fn a_world_in_which_nothing_can_happen_is_a_deadlock() {
    let ended = run(calm(1), |world| async move {
        idle(&world, 0);
        std::future::pending::<()>().await;
    });
    assert_eq!(ended.output, None);
    assert_eq!(ended.failures[0].property, "deadlock");
}

#[test]
fn a_world_without_end_is_stopped() {
    let mut settings = calm(1);
    settings.limit = 5 * SECOND;
    let ended = run(settings, |world| async move {
        loop {
            world.sleep(SECOND).await;
        }
    });
    let output: Option<()> = ended.output;
    assert_eq!(output, None);
    assert_eq!(ended.failures[0].property, "time-limit");
    assert_eq!(ended.simulated, 5 * SECOND);
}

#[test]
fn names_mean_what_they_were_given() {
    simulate(calm(1), |world| async move {
        let host = world.host(idle(&world, 0));
        world.add_name("db.example", vec![ip(2), ip(1)]);
        let found = host.network.resolve("db.example", 7).await.unwrap();
        assert_eq!(
            found,
            [SocketAddr::new(ip(2), 7), SocketAddr::new(ip(1), 7)]
        );
        let literal = host.network.resolve("10.1.2.3", 9).await.unwrap();
        assert_eq!(literal, ["10.1.2.3:9".parse().unwrap()]);
        let missing = host.network.resolve("nobody", 1).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn the_same_purpose_gives_the_same_numbers_to_the_same_process_only() {
    use rand::RngCore;
    let first = |node: u32, asked_before: &'static [&'static str], incarnation: u32| {
        simulate(calm(9), move |world| async move {
            for number in 0..2 {
                idle(&world, number);
            }
            for _ in 1..incarnation {
                world.restart(node);
            }
            let host = world.host(node);
            for purpose in asked_before {
                host.rng(purpose);
            }
            host.rng("raft").next_u64()
        })
        .output
        .unwrap()
    };
    let base = first(0, &[], 1);
    assert_eq!(first(0, &["gossip", "gossip"], 1), base);
    assert_ne!(first(0, &["raft"], 1), base);
    assert_ne!(first(1, &[], 1), base);
    assert_ne!(first(0, &[], 2), base);
}
