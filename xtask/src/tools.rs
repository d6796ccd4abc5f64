//! Programs that tests need beside cargo's crates: found, installed where that is possible, or missed aloud.

use crate::{Output, XtaskError};
use std::path::Path;
use std::process::{Command, Stdio};

/// A program that some tests start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name in the search path.
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// Which tests need it.
    pub needed_for: &'static str,
}

/// Every such program.
pub const TOOLS: [Tool; 1] = [Tool {
    program: "curl",
    package: "curl",
    needed_for: "the engine's HTTP, asked by a client that we did not write",
}];

/// Looks for `tools` and installs what is missing, if this is root on a system with apt. Returns what is missing then.
pub fn provide(tools: &[Tool], output: Output) -> Result<Vec<Tool>, XtaskError> {
    let missing = missing(tools);
    if missing.is_empty() || !is_there("apt-get") || !is_root()? {
        return Ok(missing);
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    output.note(&format!("installing {}", packages.join(", ")));
    // The lists may be there and fresh: updating them takes longest. Failing twice is an answer, too.
    if !apt_get(&["install", "--yes", "--no-install-recommends"], &packages)? {
        apt_get(&["update"], &[])?;
        apt_get(&["install", "--yes", "--no-install-recommends"], &packages)?;
    }
    Ok(self::missing(tools))
}

fn missing(tools: &[Tool]) -> Vec<Tool> {
    let missing = tools.iter().filter(|tool| !is_there(tool.program));
    missing.copied().collect()
}

/// Whether a program is in the search path.
pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder: std::path::PathBuf| folder.join(program).is_file())
}

/// Whether the effective user is root; never on systems without /proc.
fn is_root() -> Result<bool, XtaskError> {
    let status = Path::new("/proc/self/status");
    if !status.exists() {
        return Ok(false);
    }
    let text = std::fs::read_to_string(status).map_err(XtaskError::io("read /proc/self/status"))?;
    let ids = text.lines().find_map(|line| line.strip_prefix("Uid:"));
    Ok(ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0"))
}

fn apt_get(arguments: &[&str], packages: &[&str]) -> Result<bool, XtaskError> {
    let status = Command::new("apt-get")
        .args(arguments)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(XtaskError::io("start apt-get"))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_missed() {
        let tool = |program| Tool {
            program,
            package: "none",
            needed_for: "nothing",
        };
        let tools = [tool("sh"), tool("no-such-program-anywhere")];
        assert_eq!(missing(&tools), [tools[1]]);
    }
}
