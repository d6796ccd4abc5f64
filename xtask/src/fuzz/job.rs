//! A process of libFuzzer's, and what it says of itself on standard error.

use crate::XtaskError;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

/// Lines of what it says that are remembered.
const REMEMBERED: usize = 60;
/// Of a panic's lines, how many are shown.
const SHOWN: usize = 6;

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Inputs that were run.
    pub executed: u64,
    /// Edges that were reached.
    pub edges: u64,
    /// Inputs of its corpus.
    pub inputs: u64,
    /// Inputs that it runs a second.
    pub per_second: u64,
}

impl Status {
    /// Takes in a line such as `#4096 NEW    cov: 70 ft: 90 corp: 7/10Kb lim: 4 exec/s: 12 rss: 30Mb`; others say
    /// nothing of it.
    fn read(&mut self, line: &str) {
        let Some(executed) = line.strip_prefix('#') else {
            return;
        };
        let mut words = executed.split_whitespace();
        let Some(Ok(executed)) = words.next().map(str::parse) else {
            return;
        };
        self.executed = executed;
        while let Some(word) = words.next() {
            let value = match word {
                "cov:" => &mut self.edges,
                "corp:" => &mut self.inputs,
                "exec/s:" => &mut self.per_second,
                _ => continue,
            };
            let number = words.next().and_then(|word| word.split('/').next());
            if let Some(Ok(number)) = number.map(str::parse) {
                *value = number;
            }
        }
    }
}

/// What it has said.
#[derive(Debug, Default)]
struct Said {
    status: Status,
    /// Where it wrote an input that breaks something.
    artifact: Option<PathBuf>,
    lines: VecDeque<String>,
    /// The first lines of what it broke by.
    panic: Vec<String>,
    has_ended: bool,
}

impl Said {
    fn read(&mut self, line: String) {
        self.status.read(&line);
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.artifact = Some(path.trim().into());
        }
        let is_panic = line.contains("panicked at") || line.starts_with("==");
        if is_panic || (1..SHOWN).contains(&self.panic.len()) {
            self.panic.push(line.clone());
        }
        if self.lines.len() == REMEMBERED {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

/// What became of it.
#[derive(Debug)]
pub struct Ended {
    /// Inputs that it has run.
    pub executed: u64,
    /// The input by which something broke, as it was told to name it.
    pub artifact: Option<PathBuf>,
    /// What it said of that.
    pub last_words: String,
}

/// A process that fuzzes.
#[derive(Debug)]
pub struct Job {
    child: Mutex<Child>,
    said: Arc<Mutex<Said>>,
    reader: JoinHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Job {
    /// Starts it.
    pub fn start(mut command: Command) -> Result<Job, XtaskError> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(XtaskError::io("start libFuzzer"))?;
        let stderr = child.stderr.take().expect("it was piped");
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = said.clone();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(stderr).split(b'\n');
            for line in lines.map_while(Result::ok) {
                lock(&heard).read(String::from_utf8_lossy(&line).into_owned());
            }
            lock(&heard).has_ended = true;
        });
        Ok(Job {
            child: Mutex::new(child),
            said,
            reader,
        })
    }

    /// How far it is.
    pub fn status(&self) -> Status {
        lock(&self.said).status
    }

    /// Whether it says nothing any more.
    pub fn has_ended(&self) -> bool {
        lock(&self.said).has_ended
    }

    /// Whether it has broken something.
    pub fn has_failed(&self) -> bool {
        let said = lock(&self.said);
        said.has_ended && said.artifact.is_some()
    }

    /// Ends it. What it has found is on the disk already.
    pub fn stop(&self) {
        // One that is over already cannot be ended, and need not be.
        let _ = lock(&self.child).kill();
    }

    /// Waits until it is over. A process that fails and has found nothing is one that could not do its work.
    pub fn wait(self) -> Result<Ended, XtaskError> {
        let status = lock(&self.child)
            .wait()
            .map_err(XtaskError::io("wait for libFuzzer"))?;
        let _ = self.reader.join();
        let said = lock(&self.said);
        // One that was ended has no code.
        if said.artifact.is_none() && status.code().is_some_and(|code| code != 0) {
            let words: Vec<&str> = said.lines.iter().map(String::as_str).collect();
            return Err(XtaskError::Worker {
                command: "libFuzzer".to_string(),
                problem: format!("ended with {status}:\n{}", words.join("\n")),
            });
        }
        Ok(Ended {
            executed: said.status.executed,
            artifact: said.artifact.clone(),
            last_words: said.panic.join("\n"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_status_is_read_and_others_are_not() {
        let mut status = Status::default();
        status.read("INFO: Loaded 1 PC tables (17427 PCs)");
        status.read("# is no number");
        assert_eq!(status, Status::default());
        status.read("#4096\tREDUCE cov: 70 ft: 90 corp: 7/10Kb lim: 4 exec/s: 12 rss: 30Mb L: 3/4 MS: 1 Custom-");
        let expected = Status {
            executed: 4_096,
            edges: 70,
            inputs: 7,
            per_second: 12,
        };
        assert_eq!(status, expected);
        status.read("#8192\tDONE");
        assert_eq!((status.executed, status.edges), (8_192, 70));
    }

    fn job(script: &str) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job::start(command).unwrap()
    }

    #[test]
    fn what_breaks_something_is_told_with_its_last_words() {
        let script = "echo '#12 NEW cov: 3 ft: 4' >&2; echo \"thread '<unnamed>' panicked at x.rs:1\" >&2; \
                      echo 'it broke' >&2; \
                      echo \"artifact_prefix='a/'; Test unit written to a/crash-1\" >&2; exit 77";
        let job = job(script);
        let ended = job.wait().unwrap();
        assert_eq!(ended.executed, 12);
        assert_eq!(ended.artifact, Some("a/crash-1".into()));
        assert!(
            ended.last_words.contains("panicked at x.rs:1\nit broke"),
            "{ended:?}"
        );
    }

    #[test]
    fn one_that_cannot_do_its_work_is_an_error() {
        let error = job("echo 'no such flag' >&2; exit 1").wait().unwrap_err();
        assert!(error.to_string().contains("no such flag"), "{error}");
        assert_eq!(job("echo '#5 DONE' >&2").wait().unwrap().executed, 5);
    }

    #[test]
    fn one_that_is_ended_is_no_error() {
        let job = job("exec sleep 60");
        job.stop();
        assert_eq!(job.wait().unwrap().artifact, None);
    }
}
