//! The one place that knows it runs on an operating system: runtime, logs, signals.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::cli::LogFormat;
use holdfast_host::{Host, tokio_host};
use holdfast_node::race::{First, first};
use std::{
    future::Future,
    io::{self, BufWriter, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
    process::ExitCode,
};
use tokio::{
    runtime::{Builder, Handle},
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

/// Runs `program` on a fresh runtime, with a host whose relative paths begin at the working directory.
pub fn run<F: Future<Output = ExitCode>>(program: impl FnOnce(Host) -> F) -> ExitCode {
    run_on(tokio_host::host, program)
}

/// The same for a program whose files need not outlive it: nothing is synced.
pub fn run_scratch<F: Future<Output = ExitCode>>(program: impl FnOnce(Host) -> F) -> ExitCode {
    run_on(tokio_host::scratch_host, program)
}

fn run_on<F: Future<Output = ExitCode>>(
    host: fn(PathBuf, Handle) -> Host,
    program: impl FnOnce(Host) -> F,
) -> ExitCode {
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let host = host(PathBuf::from("."), runtime.handle().clone());
    let code = runtime.block_on(program(host));
    // Detached tasks have nothing left to say; blocking jobs under way are waited for in vain.
    runtime.shutdown_background();
    code
}

/// The path without any `..`, which a host's disk does not take: it keeps its files under a root. What operators write
/// has none, and means what the operating system makes of it: the folder above the one that a link leads to.
pub fn without_parents(path: &Path) -> io::Result<PathBuf> {
    if !path.components().any(|part| part == Component::ParentDir) {
        return Ok(path.to_owned());
    }
    let mut resolved = std::env::current_dir()?;
    for part in path.components() {
        match part {
            Component::ParentDir => {
                resolved = resolved.canonicalize()?;
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    Ok(resolved)
}

/// A folder that is removed when it is dropped, or with [`tempfile::TempDir::close`] and a word about it.
pub fn scratch_folder() -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("holdfast-").tempdir()
}

/// Where a command writes what it was asked for.
pub struct Output {
    writer: BufWriter<Box<dyn Write>>,
    is_coloured: bool,
}

impl Output {
    /// A file, which is created or written anew; without one, standard output.
    pub fn open(file: Option<&Path>) -> io::Result<Output> {
        let wrap = |writer: Box<dyn Write>, is_coloured| Output {
            writer: BufWriter::new(writer),
            is_coloured,
        };
        let Some(path) = file else {
            let stdout = io::stdout();
            // See https://no-color.org.
            let is_coloured = stdout.is_terminal() && environment("NO_COLOR").is_none();
            return Ok(wrap(Box::new(stdout), is_coloured));
        };
        let created = std::fs::File::create(path);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        Ok(wrap(Box::new(created.map_err(named)?), false))
    }

    /// Whether it goes to somebody's terminal, who likes colours.
    pub fn is_coloured(&self) -> bool {
        self.is_coloured
    }

    /// Writes.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Writes what still waits to be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Makes a file that only its owner may read, on the platter when this returns. `AlreadyExists` when there is one.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(path);
    let written = made.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// A variable of the environment, unless it is empty; what is not UTF-8 in it is replaced.
pub fn environment(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some(value)
}

/// A filter for [`start_logs`] as it was given, or what is wrong with it.
pub fn parse_log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Writes logs to standard error: what `filter` lets through, as text or as one JSON object a line.
pub fn start_logs(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).expect("the command line was checked");
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}

/// Makes a panic on any thread the end of the process: an invariant is broken, and down is better than wrong.
pub fn stop_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        tracing::error!(%panic, "a broken invariant; the node stops");
        std::process::abort();
    }));
}

/// Catches SIGTERM and SIGINT from this call on; completes at the first, with its name.
pub fn stop_signal() -> impl Future<Output = &'static str> {
    let listen = |kind| signal(kind).expect("the process may handle its signals");
    let mut terminate = listen(SignalKind::terminate());
    let mut interrupt = listen(SignalKind::interrupt());
    async move {
        match first(terminate.recv(), interrupt.recv()).await {
            First::One(_) => "SIGTERM",
            First::Other(_) => "SIGINT",
        }
    }
}
