//! Starting the binary and talking to it.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
    thread::JoinHandle,
};

/// The binary.
pub const ENGINE: &str = env!("CARGO_BIN_EXE_engine");

/// `engine serve` under way. Killed when it is dropped.
pub struct Engine {
    child: Child,
    /// Where it listens for clients.
    pub address: String,
    log: Option<JoinHandle<String>>,
}

impl Engine {
    /// Starts a cluster of one on free ports, with its data in `data`, and waits until it leads.
    pub fn start(data: &Path) -> Engine {
        let ports = ["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"];
        let engine = Engine::start_with(data, &ports);
        engine.kv_out(&["list", "--timeout", "60s"]);
        engine
    }

    /// Starts with these arguments, and waits until it serves.
    pub fn start_with(data: &Path, arguments: &[&str]) -> Engine {
        let mut command = Command::new(ENGINE);
        command.arg("serve").arg("--data").arg(data).args(arguments);
        Engine::spawn(command)
    }

    /// Starts with what a file says, and waits until it serves.
    pub fn start_file(file: &Path) -> Engine {
        let mut command = Command::new(ENGINE);
        command.arg("serve").arg("--config").arg(file);
        Engine::spawn(command)
    }

    /// Starts `engine serve` without any argument but those for its log, in the folder `work`.
    pub fn start_bare(work: &Path) -> Engine {
        let mut command = Command::new(ENGINE);
        command.arg("serve").current_dir(work);
        Engine::spawn(command)
    }

    /// Starts in the folder `work` with these arguments, and waits until it serves.
    pub fn start_in(work: &Path, arguments: &[&str]) -> Engine {
        let mut command = Command::new(ENGINE);
        command.arg("serve").args(arguments).current_dir(work);
        Engine::spawn(command)
    }

    fn spawn(mut command: Command) -> Engine {
        command
            .args(["--log-format", "json"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut told = String::new();
        let address = loop {
            let mut line = String::new();
            if log.read_line(&mut line).expect("a line") == 0 {
                panic!("it ended before it served: {:?}\n{told}", child.wait());
            }
            told.push_str(&line);
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["fields"]["message"] == "serving" {
                let address = event["fields"]["clients"].as_str();
                break address.expect("an address").to_owned();
            }
        };
        Engine {
            child,
            address,
            log: Some(std::thread::spawn(move || read_rest(log))),
        }
    }

    /// Runs `engine kv ...` against it.
    pub fn kv(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(ENGINE);
        command
            .arg("kv")
            .args(arguments)
            .args(["--endpoint", &self.address]);
        command.output().expect("the binary runs")
    }

    /// The same, which must succeed; its standard output.
    #[track_caller]
    pub fn kv_out(&self, arguments: &[&str]) -> String {
        let output = self.kv(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What it says of itself.
    pub fn status(&self) -> Value {
        let mut command = Command::new(ENGINE);
        let output = command.args(["--json", "--endpoint", &self.address, "status"]);
        let output = output.output().expect("the binary runs");
        assert!(output.status.success(), "{output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        told["status"].clone()
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.expect("there is kill").success());
    }

    /// Waits for its end; how it ended, and what it logged since it served.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it is our child");
        let log = self.log.take().expect("waited for once");
        (status, log.join().expect("the log is text"))
    }

    /// Stops it as an operator does, which must succeed.
    #[track_caller]
    pub fn stop(self) {
        self.signal("-TERM");
        let (status, log) = self.wait();
        assert_eq!(status.code(), Some(0), "{log}");
    }

    /// Kills it: no time for last words.
    pub fn kill(self) {
        self.signal("-KILL");
        self.wait();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It has ended already after `wait`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_rest(mut log: BufReader<ChildStderr>) -> String {
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("the log is text");
    rest
}

/// Runs `engine` to its end: exit code and standard error.
pub fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(ENGINE)
        .args(arguments)
        .output()
        .expect("the binary runs");
    (
        output.status.code(),
        String::from_utf8(output.stderr).expect("text"),
    )
}

/// A start that must fail: exit code and standard error.
pub fn refused_start(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let data = data.to_str().expect("text");
    let ports = ["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"];
    run(&[&["serve", "--data", data], &ports[..], arguments].concat())
}

/// Says that a test could not be made, where people and CI look for it.
pub fn skip(reason: &str) {
    let line = format!("SKIPPED: {reason}");
    println!("{line}");
    let Some(file) = std::env::var_os("HOLDFAST_SKIPS") else {
        return;
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file);
    let mut file = file.expect("HOLDFAST_SKIPS names a file that can be written");
    std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes()).expect("written");
}
