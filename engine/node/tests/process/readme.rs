//! The README's commands, as they stand there.

use crate::{engine::ENGINE, ports::free_ports};
use std::{path::Path, process::Command};

/// A number such that its tenfold and the three ports after it are free.
fn free_decade() -> u16 {
    loop {
        // Twice as many as are needed: a whole decade is among them, and no other test is given it.
        let decade = free_ports(20)[0] / 10 + 1;
        let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (1..=3).all(|node| is_free(decade * 10 + node)) {
            return decade;
        }
    }
}

#[test]
fn the_cluster_of_the_readme_comes_up_as_written() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).expect("there is a README");
    let block = readme
        .split("```")
        .find(|block| block.contains("engine serve --id"))
        .expect("it says how a cluster is started");
    let (build, commands): (Vec<&str>, Vec<&str>) = block
        .lines()
        .filter(|line| !line.is_empty())
        .partition(|line| line.starts_with("cargo build"));
    assert_eq!(
        build,
        ["cargo build --release --package holdfast-node --bin engine"]
    );
    assert_eq!(commands.len(), 4, "five commands in all: {commands:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let mut script = commands.join("\n");
    for (written, here) in [
        ("target/release/engine", ENGINE),
        ("127.0.0.1:748", &format!("127.0.0.1:{}", free_decade())),
        ("127.0.0.1:758", &format!("127.0.0.1:{}", free_decade())),
        ("/tmp/holdfast", &data),
    ] {
        assert!(script.contains(written), "{written} in {script}");
        script = script.replace(written, here);
    }
    let script = format!("trap 'kill $(jobs -p); wait' EXIT\n{script}");
    let output = Command::new("bash").args(["-e", "-c", &script]).output();
    let output = output.expect("there is bash");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{script}\n{output:?}");
    assert_eq!(told, "revision 2\nhello\n", "{script}");
}
