//! Clocks, medians and rows.

use holdfast_record::worker::BenchRow;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// What goes wrong in a benchmark is told to a person; nobody acts on it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// CPU time that this process has used, user and system, seconds.
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Runs `work` and returns its result with the CPU seconds that it took.
pub fn on_cpu<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = cpu_seconds();
    let result = work();
    (result, cpu_seconds() - began)
}

/// Repeats `step`, which tells how much it did, until `time` is over; what was done, per second of real time.
pub fn rate_for(time: Duration, mut step: impl FnMut() -> Result<u64>) -> Result<f64> {
    let began = Instant::now();
    let mut done = 0;
    loop {
        done += step()?;
        let passed = began.elapsed();
        if passed >= time {
            return Ok(done as f64 / passed.as_secs_f64());
        }
    }
}

/// The value in the middle: the upper one of two.
pub fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The value that so many percent of all do not exceed.
pub fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100);
    values[rank.max(1) - 1]
}

/// A row without a rival.
pub fn alone(name: &str, value: f64, unit: &str, note: &str) -> BenchRow {
    BenchRow {
        name: name.into(),
        value,
        unit: unit.into(),
        rival: None,
        rival_value: None,
        ratio: None,
        note: note.into(),
    }
}

/// A row with a rival's value beside it.
pub fn beside(name: &str, value: f64, unit: &str, rival: (&str, f64), note: &str) -> BenchRow {
    BenchRow {
        rival: Some(rival.0.into()),
        rival_value: Some(rival.1),
        ratio: Some(value / rival.1),
        ..alone(name, value, unit, note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, -1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 3.0);
    }

    #[test]
    fn nine_in_ten_do_not_exceed_the_ninetieth_percentile() {
        let tenths = || (1..=10).map(f64::from).collect::<Vec<_>>();
        assert_eq!(percentile(tenths(), 90), 9.0);
        assert_eq!(percentile(tenths(), 100), 10.0);
        assert_eq!(percentile(vec![7.0], 90), 7.0);
        assert_eq!(mean(&tenths()), 5.5);
    }

    #[test]
    fn a_ratio_is_ours_over_the_rivals() {
        let row = beside("appends", 10.0, "records/s", ("SQLite", 4.0), "");
        assert_eq!(row.ratio, Some(2.5));
    }
}
