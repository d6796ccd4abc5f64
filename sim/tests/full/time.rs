use super::*;
use holdfast_sim::clock::ClockProfile;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn sleeps_last_as_long_as_the_nodes_own_clock_says() {
    let mut settings = calm(1);
    settings.plan.clocks = vec![
        ClockProfile {
            offset_ns: 0,
            drift_ppm: 200_000,
        },
        ClockProfile {
            offset_ns: 0,
            drift_ppm: -200_000,
        },
    ];
    simulate(settings, |world| async move {
        for (node, expected) in [(0, SECOND * 100 / 120), (1, SECOND * 100 / 80)] {
            let host = world.host(idle(&world, node));
            let (begun, own) = (world.now(), host.now());
            host.sleep(100 * SECOND).await;
            let took = world.now() - begun;
            assert!(took >= expected * 100 && took < expected * 100 + MILLISECOND);
            assert!(host.now().since(own) >= 100 * SECOND);
        }
    });
}

#[test]
fn a_sleeper_notices_that_its_clock_has_changed_pace() {
    simulate(calm(1), |world| async move {
        let host = world.host(idle(&world, 0));
        let sleeper = host.clone();
        let task = host.spawn("sleeper", async move {
            let begun = sleeper.now();
            sleeper.sleep(10 * SECOND).await;
            let slept = sleeper.now().since(begun);
            assert!(slept >= 10 * SECOND && slept < 10 * SECOND + MILLISECOND);
        });
        world.sleep(SECOND).await;
        world.clock(0, |clock, now| clock.set_drift(now, 500_000));
        world.sleep(SECOND).await;
        world.clock(0, |clock, now| clock.set_drift(now, -500_000));
        task.await;
        // 1 s at 1, 1 s at 1.5, the rest at 0.5.
        let expected = SECOND * 2 + SECOND * 15;
        assert!(world.now() >= expected && world.now() < expected + MILLISECOND);
    });
}

#[test]
fn wall_time_jumps_and_monotonic_time_does_not() {
    simulate(calm(1), |world| async move {
        let host = world.host(idle(&world, 0));
        world.sleep(SECOND).await;
        let (wall, monotonic) = (host.unix_time(), host.now());
        world.clock(0, |clock, _| clock.step(-3_600_000_000_000));
        assert_eq!(host.now(), monotonic);
        assert_eq!(
            host.unix_time().as_nanos(),
            wall.as_nanos() - 3_600_000_000_000
        );
        world.restart(0);
        let host = world.host(0);
        assert!(host.now() < monotonic, "a new process counts from zero");
        assert_eq!(
            host.unix_time().as_nanos(),
            wall.as_nanos() - 3_600_000_000_000
        );
    });
}

#[test]
fn a_timeout_wins_only_when_it_is_over() {
    simulate(calm(1), |world| async move {
        let host = world.host(idle(&world, 0));
        let late = host.timeout(SECOND, host.sleep(2 * SECOND)).await;
        assert!(late.is_err());
        assert_eq!(world.now(), SECOND);
        let tie = host.timeout(SECOND, host.sleep(SECOND)).await;
        assert!(tie.is_ok(), "what is ready at the deadline wins");
    });
}
