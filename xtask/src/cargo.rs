//! Cargo, as a command.

use crate::{Output, XtaskError};
use cargo_metadata::Message;
use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// All packages that are not tools. Features are chosen for a selection of packages as a whole, so everything that is
/// built of the engine is built with this selection: with one of its own, each would compile again what they share.
pub const ENGINE: [&str; 5] = [
    "--workspace",
    "--exclude",
    "xtask",
    "--exclude",
    "holdfast-reports",
];
/// The tools, in whose tree polars is: what `cargo xtask` itself was built of.
pub const TOOLS: [&str; 4] = ["--package", "xtask", "--package", "holdfast-reports"];

/// A `cargo` command in the workspace at `root`.
///
/// Without what the outer `cargo run` tells this process about the package xtask: build scripts that look at those
/// variables would otherwise run again each time that xtask and a plain `cargo` take turns.
pub fn command(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root);
    for (name, _) in std::env::vars_os() {
        let told = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_CRATE_",
            "CARGO_BIN_",
        ];
        if name
            .to_str()
            .is_some_and(|n| told.iter().any(|t| n.starts_with(t)))
        {
            command.env_remove(name);
        }
    }
    command
}

/// Builds binaries of the engine's side and tells where they are, by name. Cargo's progress goes to standard error.
pub fn build(
    root: &Path,
    binaries: &[&str],
    output: Output,
) -> Result<BTreeMap<String, PathBuf>, XtaskError> {
    let mut cargo = command(root);
    cargo.arg("build").args(ENGINE);
    cargo.arg("--message-format=json-render-diagnostics");
    for binary in binaries {
        cargo.args(["--bin", binary]);
    }
    if output == Output::Json {
        cargo.arg("--quiet");
    }
    let what = binaries.join(", ");
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .map_err(XtaskError::io("start cargo"))?;
    let stdout = child.stdout.take().expect("it was piped");
    let mut built = BTreeMap::new();
    for message in Message::parse_stream(BufReader::new(stdout)) {
        let message = message.map_err(XtaskError::io("read what cargo built"))?;
        if let Message::CompilerArtifact(artifact) = message
            && let Some(executable) = artifact.executable
        {
            built.insert(artifact.target.name, executable.into_std_path_buf());
        }
    }
    let status = child.wait().map_err(XtaskError::io("wait for cargo"))?;
    if !status.success() || binaries.iter().any(|b| !built.contains_key(*b)) {
        return Err(XtaskError::Build(what));
    }
    Ok(built)
}

/// Builds one binary and tells where it is.
pub fn build_one(root: &Path, binary: &str, output: Output) -> Result<PathBuf, XtaskError> {
    let mut built = build(root, &[binary], output)?;
    Ok(built.remove(binary).expect("build checks that it is there"))
}

/// How many processes to run at a time.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
