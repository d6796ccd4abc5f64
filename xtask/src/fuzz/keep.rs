//! Which of all inputs are kept in the repository: the fewest that reach what all of them reach, and those that once
//! broke something.

use crate::XtaskError;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How the names of inputs begin that have broken something; they are kept whatever they reach.
const BROKE: [&str; 4] = ["crash-", "timeout-", "oom-", "slow-unit-"];

/// What is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Edges that the inputs reach together.
    pub edges: u64,
    /// How many inputs.
    pub inputs: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Replaces what is in `kept` by the fewest inputs of `corpus` and `kept` that reach as much; with `counts` it counts,
/// too, how often an edge is passed.
pub fn merge(
    program: &Path,
    counts: bool,
    corpus: &Path,
    kept: &Path,
) -> Result<Merged, XtaskError> {
    let fewest = tempfile::tempdir().map_err(XtaskError::io("make a folder for what is kept"))?;
    let merging = Command::new(program)
        .arg("-set_cover_merge=1")
        .arg(format!("-use_counters={}", u8::from(counts)))
        .args([fewest.path(), kept, corpus])
        .stdin(Stdio::null())
        .output()
        .map_err(XtaskError::io("start libFuzzer"))?;
    let said = String::from_utf8_lossy(&merging.stderr);
    if !merging.status.success() {
        return Err(XtaskError::Worker {
            command: format!("{} -set_cover_merge=1", program.display()),
            problem: format!("ended with {}:\n{said}", merging.status),
        });
    }
    replace(kept, fewest.path())?;
    let mut merged = Merged {
        edges: edges(&said),
        ..Merged::default()
    };
    for file in files(kept)? {
        merged.inputs += 1;
        let what = format!("read {}", file.display());
        merged.bytes += std::fs::metadata(&file)
            .map_err(XtaskError::io(what))?
            .len();
    }
    Ok(merged)
}

/// The edges that the inputs reached before some were left out, from lines such as `#71 DONE  cov: 1445 exec/s: 0`.
fn edges(said: &str) -> u64 {
    let told = said.split("cov: ").skip(1);
    let numbers = told.filter_map(|rest| rest.split_whitespace().next()?.parse().ok());
    numbers.max().unwrap_or(0)
}

/// Makes `kept` what `fewest` is, but for what once broke something.
fn replace(kept: &Path, fewest: &Path) -> Result<(), XtaskError> {
    let name = |file: &Path| file.file_name().unwrap_or_default().to_os_string();
    for file in files(kept)? {
        let has_broken = BROKE
            .iter()
            .any(|broke| name(&file).to_string_lossy().starts_with(broke));
        if !has_broken && !fewest.join(name(&file)).is_file() {
            let what = format!("remove {}", file.display());
            std::fs::remove_file(&file).map_err(XtaskError::io(what))?;
        }
    }
    for file in files(fewest)? {
        let place = kept.join(name(&file));
        let what = format!("write {}", place.display());
        std::fs::copy(&file, &place).map_err(XtaskError::io(what))?;
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, XtaskError> {
    let what = || format!("list {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(XtaskError::io(what()))? {
        files.push(entry.map_err(XtaskError::io(what()))?.path());
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_nothing_new_goes_and_what_broke_something_stays() {
        let (kept, fewest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["old", "both", "crash-1", "timeout-2"] {
            std::fs::write(kept.path().join(name), name).unwrap();
        }
        for name in ["both", "new"] {
            std::fs::write(fewest.path().join(name), name).unwrap();
        }
        replace(kept.path(), fewest.path()).unwrap();
        let left = files(kept.path()).unwrap();
        let names: Vec<_> = left.iter().map(|file| file.file_name().unwrap()).collect();
        assert_eq!(names, ["both", "crash-1", "new", "timeout-2"]);
    }

    #[test]
    fn edges_are_the_most_that_were_told() {
        assert_eq!(
            edges("#8\tpulse  cov: 12 exec/s: 0\n#9\tDONE   cov: 31 exec/s: 0 rss: 40Mb\n"),
            31
        );
        assert_eq!(edges("nothing"), 0);
    }
}
