//! A process and what it used, as Linux's `/proc` tells.

use crate::measure::Result;
use std::{
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(2);
/// What `/proc` counts CPU time in: hundredths of a second (`USER_HZ`, the same on every Linux that Rust runs on).
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Real time from its start to its end, seconds.
    pub wall_seconds: f64,
    /// CPU time of it and of its threads, seconds, to a hundredth.
    pub cpu_seconds: f64,
    /// The most memory that it had resident, bytes; as seen shortly before its end.
    pub peak_bytes: f64,
}

/// Runs a command to its end, and no longer than `patience`.
pub fn run(command: &mut Command, patience: Duration) -> Result<Usage> {
    let began = Instant::now();
    let mut child = command.spawn()?;
    let watched = watch(&child, began, patience);
    if watched.is_err() {
        // It may just have ended.
        let _ = child.kill();
    }
    child.wait()?;
    watched
}

fn watch(child: &Child, began: Instant, patience: Duration) -> Result<Usage> {
    let folder = format!("/proc/{}", child.id());
    let mut usage = Usage::default();
    loop {
        // Until it is waited for, a process that has ended keeps its times.
        let stat = std::fs::read_to_string(format!("{folder}/stat"))?;
        let (_, fields) = stat
            .rsplit_once(") ")
            .ok_or("a stat has a name in brackets")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |field: usize| -> Result<f64> {
            let text = fields.get(field).ok_or("a stat has its fields")?;
            Ok(text.parse::<u64>()? as f64)
        };
        usage.wall_seconds = began.elapsed().as_secs_f64();
        usage.cpu_seconds = (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND;
        if fields[0] == "Z" {
            return Ok(usage);
        }
        if began.elapsed() > patience {
            return Err(format!("it did not end within {patience:?}").into());
        }
        let status = std::fs::read_to_string(format!("{folder}/status"))?;
        let mut lines = status.lines();
        let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kib) = peak.and_then(|text| text.split_whitespace().next()) {
            usage.peak_bytes = usage.peak_bytes.max(kib.parse::<u64>()? as f64 * 1024.0);
        }
        sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_used_is_seen() {
        let mut busy = Command::new("sh");
        busy.args([
            "-c",
            "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 0.1",
        ]);
        let usage = run(&mut busy, Duration::from_secs(60)).unwrap();
        assert!(usage.wall_seconds >= 0.1, "{usage:?}");
        assert!(usage.cpu_seconds > 0.0, "{usage:?}");
        assert!(usage.peak_bytes > 100_000.0, "{usage:?}");
    }

    #[test]
    fn a_process_that_does_not_end_is_ended() {
        let mut sleeping = Command::new("sleep");
        sleeping.arg("60");
        let error = run(&mut sleeping, Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }
}
