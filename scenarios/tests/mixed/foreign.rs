//! Nodes of others, in a process of their own.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A process that runs nodes of one kind: it is told what to do by lines of JSON, and answers each with one.
pub struct Foreign {
    pub name: &'static str,
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Foreign {
    /// Those of libtorrent, installed for the Python of this environment.
    pub fn libtorrent(home: &Path) -> Foreign {
        let mut command = Command::new(home.join("bin/python3"));
        command.arg(script("libtorrent_nodes.py"));
        Foreign::start("libtorrent", command)
    }

    /// Those of bittorrent-dht, installed in this folder.
    pub fn bittorrent_dht(home: &Path) -> Foreign {
        let mut command = Command::new("node");
        command.arg(script("bittorrent_dht_nodes.mjs")).arg(home);
        Foreign::start("bittorrent-dht", command)
    }

    fn start(name: &'static str, mut command: Command) -> Foreign {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Foreign {
            name,
            process,
            orders,
            answers,
        }
    }

    /// Tells it to do something.
    pub fn ask(&mut self, order: Value) -> Value {
        let orders = self.orders.as_mut().expect("it runs");
        writeln!(orders, "{order}").expect("it listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        let answer = serde_json::from_str(&line);
        answer.unwrap_or_else(|error| panic!("{}, asked {order}: {error}: {line:?}", self.name))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It ends when there are no more orders; if it does not, it is ended.
        drop(self.orders.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/mixed")
        .join(name)
}
