use super::*;
use holdfast_host::{Disk, OpenMode, read_file, write_all_at};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

const SECOND: Duration = Duration::from_secs(1);

fn write(disk: &mut dyn Disk, name: &str, bytes: &[u8], durable: bool) -> io::Result<()> {
    let file = disk.open(Path::new(name), OpenMode::Create)?;
    write_all_at(disk, file, 0, bytes)?;
    if durable {
        disk.sync(file)?;
        disk.sync_dir(Path::new(""))?;
    }
    disk.close(file);
    Ok(())
}

fn read(disk: &mut dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    read_file(disk, Path::new(name), 1 << 20)
}

/// What is left of a durable and of an unsynced file after `death` and a restart.
fn survivors(seed: u64, death: fn(&World)) -> (Vec<u8>, Option<Vec<u8>>) {
    simulate(calm(seed), move |world| async move {
        let host = world.host(idle(&world, 0));
        host.blocking(|disk| {
            write(disk, "durable", &[1; 5_000], true).unwrap();
            write(disk, "hoped", &[2; 5_000], false).unwrap();
        })
        .await;
        death(&world);
        world.restart(0);
        world
            .host(0)
            .blocking(|disk| (read(disk, "durable").unwrap(), read(disk, "hoped").ok()))
            .await
    })
    .output
    .unwrap()
}

#[test]
fn a_kill_loses_no_byte() {
    for seed in 0..20 {
        let (durable, hoped) = survivors(seed, |world| world.kill(0));
        assert_eq!(durable, [1; 5_000]);
        assert_eq!(hoped, Some(vec![2; 5_000]));
    }
}

#[test]
fn a_power_cut_spares_only_what_was_synced() {
    let mut damaged = 0;
    for seed in 0..20 {
        let (durable, hoped) = survivors(seed, |world| world.power_cut(0));
        assert_eq!(durable, [1; 5_000]);
        damaged += u32::from(hoped != Some(vec![2; 5_000]));
    }
    assert!(damaged > 10, "unsynced bytes survived nearly always");
}

#[test]
fn jobs_take_the_devices_time_one_after_the_other() {
    let mut settings = calm(1);
    settings.plan.disk.sync_min_ns = 10_000_000;
    settings.plan.disk.sync_tail_ns = 1;
    simulate(settings, |world| async move {
        let host = world.host(idle(&world, 0));
        let jobs: Vec<_> = (0..10)
            .map(|number| {
                let worker = host.clone();
                host.spawn("writer", async move {
                    let name = format!("file-{number}");
                    worker
                        .blocking(move |disk| {
                            let file = disk.open(Path::new(&name), OpenMode::Create).unwrap();
                            write_all_at(disk, file, 0, b"x").unwrap();
                            disk.sync(file).unwrap();
                        })
                        .await;
                })
            })
            .collect();
        for job in jobs {
            job.await;
        }
        let took = world.now();
        assert!(took >= SECOND / 10 && took < SECOND / 9, "{took:?}");
    });
}

/// A process that appends numbered records, durably, and reports each only after that.
async fn appender(host: Host, reported: Arc<AtomicU32>) {
    loop {
        let next = host
            .blocking(|disk| -> io::Result<u32> {
                let kept = read(disk, "log").unwrap_or_default();
                let next = kept.len() as u32 / 4;
                let file = disk.open(Path::new("log"), OpenMode::Create)?;
                write_all_at(disk, file, u64::from(next) * 4, &next.to_le_bytes())?;
                disk.sync(file)?;
                disk.sync_dir(Path::new(""))?;
                disk.close(file);
                Ok(next + 1)
            })
            .await;
        match next {
            Ok(next) => reported.fetch_max(next, Relaxed),
            Err(error) => panic!("a job whose node lost power was heard: {error}"),
        };
    }
}

#[test]
fn power_fails_between_any_two_operations_and_nothing_reported_is_lost() {
    for operations in 0..25 {
        let reported = Arc::new(AtomicU32::new(0));
        let seen = reported.clone();
        simulate(
            calm(u64::from(operations as u32)),
            move |world| async move {
                world.machine(&name(0), move |host| appender(host, reported.clone()));
                world.crash_at_disk_op(0, operations);
                world.sleep(SECOND).await;
                assert!(!world.is_running(0), "the power has failed");
                let before = seen.load(Relaxed);
                let kept = world.disk(0, |disk| read(disk, "log")).unwrap_or_default();
                assert!(kept.len() / 4 >= before as usize, "{operations}: lost");
                world.restart(0);
                world.sleep(SECOND).await;
                assert!(seen.load(Relaxed) > before, "life goes on");
            },
        );
    }
}

#[test]
fn a_machine_goes_on_while_power_fails_in_its_disk() {
    let mut late = 0;
    for seed in 0..20 {
        let mut settings = calm(seed);
        settings.plan.disk.sync_min_ns = 10_000_000;
        settings.plan.disk.sync_tail_ns = 1;
        late += simulate(settings, |world| async move {
            let host = world.host(idle(&world, 0));
            let (writer, ticker) = (host.clone(), host.clone());
            host.spawn("writer", async move {
                writer
                    .blocking(|disk| write(disk, "log", &[1; 100], true))
                    .await
                    .expect("nobody hears of a job in which power fails");
            });
            let ticks = Arc::new(AtomicU32::new(0));
            let ticking = ticks.clone();
            host.spawn("ticker", async move {
                loop {
                    ticker.sleep(SECOND / 1_000).await;
                    ticking.fetch_add(1, Relaxed);
                }
            });
            // Open, write, sync: in the last.
            world.crash_at_disk_op(0, 2);
            world.sleep(SECOND).await;
            assert!(!world.is_running(0));
            assert!(ticks.load(Relaxed) <= 10, "no longer than a sync takes");
            ticks.load(Relaxed)
        })
        .output
        .unwrap();
    }
    assert!(late > 40, "{late}: about half of a sync on average");
}

#[test]
fn files_and_locks_of_a_dead_process_are_closed() {
    simulate(calm(1), |world| async move {
        let host = world.host(idle(&world, 0));
        let lock = Path::new("lock");
        let (file, again) = host
            .blocking(move |disk| (disk.lock(lock).unwrap(), disk.lock(lock)))
            .await;
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        world.kill(0);
        world.restart(0);
        let host = world.host(0);
        host.blocking(move |disk| {
            assert!(disk.len(file).is_err(), "a dead process's file is closed");
            disk.lock(lock).expect("the lock's owner is dead");
        })
        .await;
    });
}
