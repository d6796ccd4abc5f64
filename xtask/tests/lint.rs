//! What `cargo xtask lint` finds in a small house of the same plan, and what it leaves in peace.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the house stands in a temporary folder of the operating system"
)]

use std::fs;
use std::path::Path;
use tempfile::TempDir;
use xtask::lint::{Finding, findings};

/// Package, folder, and the packages it builds on.
const ROOMS: [(&str, &str, &[&str]); 9] = [
    ("holdfast-host", "engine/host", &[]),
    ("holdfast-raft", "engine/protocols/raft", &[]),
    ("holdfast-log", "engine/storage/log", &["holdfast-host"]),
    (
        "holdfast-replica",
        "engine/replication/replica",
        &["holdfast-log", "holdfast-raft"],
    ),
    ("holdfast-kv", "engine/services/kv", &["holdfast-replica"]),
    ("holdfast-sim", "sim", &["holdfast-replica", "madsim"]),
    (
        "holdfast-scenarios",
        "scenarios",
        &["holdfast-sim", "holdfast-kv"],
    ),
    ("holdfast-reports", "reports", &["polars"]),
    ("xtask", "xtask", &["holdfast-reports"]),
];

/// A workspace with a room on every floor. The crates of others are empty ones beside it, so that nothing is fetched.
struct House {
    dir: TempDir,
}

impl House {
    fn build() -> House {
        let house = House {
            dir: tempfile::tempdir().unwrap(),
        };
        let mut workspace = String::from("[workspace]\nresolver = \"3\"\nmembers = [");
        for (_, folder, _) in ROOMS {
            workspace += &format!("\"{folder}\", ");
        }
        workspace +=
            "]\n[workspace.lints.rust]\nunsafe_code = \"deny\"\n[workspace.dependencies]\n";
        for (name, folder, _) in ROOMS {
            workspace += &format!("{name} = {{ path = \"{folder}\" }}\n");
        }
        for stranger in ["madsim", "polars", "rusqlite", "wrapper"] {
            workspace += &format!("{stranger} = {{ path = \"../others/{stranger}\" }}\n");
            let dependencies: &[&str] = if stranger == "wrapper" {
                &["madsim = { path = \"../madsim\" }"]
            } else {
                &[]
            };
            house.package(&format!("../others/{stranger}"), stranger, dependencies);
        }
        house.write("Cargo.toml", &workspace);
        for file in [
            "ARCHITECTURE.md",
            "Cargo.lock",
            "LICENSE",
            "README.md",
            "clippy.toml",
            "fixtures/README.md",
        ] {
            house.write(file, "");
        }
        for (name, folder, below) in ROOMS {
            let below: Vec<String> = below
                .iter()
                .map(|b| format!("{b} = {{ workspace = true }}"))
                .collect();
            let below: Vec<&str> = below.iter().map(String::as_str).collect();
            house.package(folder, name, &below);
        }
        house
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("house")
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.root().join(file);
        fs::create_dir_all(self.root()).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn append(&self, file: &str, text: &str) {
        let before = fs::read_to_string(self.root().join(file)).unwrap();
        self.write(file, &(before + text));
    }

    fn package(&self, folder: &str, name: &str, dependencies: &[&str]) {
        let mut manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n");
        manifest += "[lints]\nworkspace = true\n\n[dependencies]\n";
        for dependency in dependencies {
            manifest += &format!("{dependency}\n");
        }
        if folder.starts_with("..") {
            manifest = manifest.replace("[lints]\nworkspace = true\n", "[workspace]\n");
        }
        self.write(&format!("{folder}/Cargo.toml"), &manifest);
        self.write(&format!("{folder}/src/lib.rs"), "//! A room.\n");
    }

    fn depend(&self, folder: &str, on: &str) {
        self.append(
            &format!("{folder}/Cargo.toml"),
            &format!("{on} = {{ workspace = true }}\n"),
        );
    }

    fn findings(&self) -> Vec<Finding> {
        findings(&self.root()).unwrap()
    }

    /// The only finding, as it is printed.
    #[track_caller]
    fn finding(&self) -> String {
        let findings = self.findings();
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        lines[0].clone()
    }
}

#[test]
fn a_house_in_order_has_no_findings() {
    assert_eq!(House::build().findings(), []);
}

#[test]
fn a_service_that_opens_a_file_is_found() {
    let house = House::build();
    house.append(
        "engine/services/kv/src/lib.rs",
        "\n/// Reads it.\npub fn read() -> Vec<u8> {\n    std::fs::read(\"x\").unwrap()\n}\n",
    );
    assert_eq!(
        house.finding(),
        "engine/services/kv/src/lib.rs:5: [host] `std::fs`; use the `Disk` that `Host::blocking` hands out"
    );
}

#[test]
fn what_is_banned_is_found_in_every_way_it_can_be_written() {
    for (source, line, ban) in [
        ("use std::{\n    io,\n    fs::File,\n};", 4, "`std::fs`"),
        ("use std::net::{SocketAddr, TcpStream};", 2, "`std::net`"),
        (
            "use std::{collections::{BTreeMap}, thread};",
            2,
            "`std::thread`",
        ),
        ("fn f() { ::std::thread::yield_now() }", 2, "`std::thread`"),
        (
            "fn f() { std :: time :: Instant :: now(); }",
            2,
            "`Instant::now`",
        ),
        (
            "fn f() { std::time::SystemTime::now(); }",
            2,
            "`SystemTime::now`",
        ),
        ("fn f() { tokio::spawn(async {}); }", 2, "`tokio::spawn`"),
        ("use tokio::time::sleep;", 2, "`tokio::time`"),
        ("use tokio::{net, sync};", 2, "`tokio::net`"),
        ("use rand::thread_rng;", 2, "`thread_rng`"),
        ("fn f() { OsRng.next_u32(); }", 2, "`OsRng`"),
        (
            "fn f() { tokio::select! { a = b => a } }",
            2,
            "`tokio::select!`",
        ),
    ] {
        let house = House::build();
        house.append(
            "engine/replication/replica/src/lib.rs",
            &format!("{source}\n"),
        );
        let finding = house.finding();
        let expected = format!("engine/replication/replica/src/lib.rs:{line}: [host] {ban}");
        assert!(
            finding.starts_with(&expected),
            "{source}\nis found as\n{finding}"
        );
    }
}

#[test]
fn what_only_looks_like_it_is_left_in_peace() {
    let house = House::build();
    house.append(
        "sim/src/lib.rs",
        r##"// std::fs::read
/// `std::thread` is not used.
const NAMES: [&str; 2] = ["std::fs", r#"tokio::spawn "quoted" "#];
use std::{collections::BTreeMap, io, net::{IpAddr, SocketAddr}};
fn f(my_thread_rng: u8, now: Instant) { tokio::select! { biased; a = b => a } }
mod fs { fn std() {} }
#[cfg(test)]
mod tests { fn f() { std::fs::read("x"); if true {} std::thread::yield_now(); } }
"##,
    );
    house.write("sim/tests/disk.rs", "use std::fs;\n");
    house.write("engine/host/src/tokio_host/disk.rs", "use std::fs;\n");
    house.write(
        "engine/node/src/production.rs",
        "use std::net::SocketAddr;\n",
    );
    assert_eq!(house.findings(), []);
}

#[test]
fn a_name_makes_no_test_of_a_file() {
    // Declared for tests only, in a file of its own, with a module in it.
    let house = House::build();
    house.append("sim/src/lib.rs", "#[cfg(test)]\nmod tests;\nmod disk;\n");
    house.write("sim/src/tests.rs", "use std::fs;\n");
    house.write("sim/src/tests/more.rs", "use std::fs;\n");
    house.write("sim/src/disk.rs", "#[cfg(test)]\nmod tests;\n");
    house.write("sim/src/disk/tests.rs", "use std::fs;\n");
    assert_eq!(house.findings(), []);
    // Of that name, and part of what ships.
    for file in [
        "sim/src/full/tests.rs",
        "sim/src/tests/more.rs",
        "sim/src/benches/run.rs",
    ] {
        let house = House::build();
        house.append("sim/src/lib.rs", "mod tests;\nmod benches;\nmod full;\n");
        house.write(file, "use std::fs;\n");
        let expected = format!("{file}:1: [host] `std::fs`");
        assert!(house.finding().starts_with(&expected), "{file}");
    }
}

#[test]
fn code_behind_a_test_module_is_looked_at() {
    let house = House::build();
    let source = "#[cfg(test)]\nmod tests { fn f() { { } } }\nuse std::fs;\n";
    house.append("sim/src/lib.rs", source);
    assert!(
        house
            .finding()
            .starts_with("sim/src/lib.rs:4: [host] `std::fs`")
    );
}

#[test]
fn an_arrow_that_points_up_is_found() {
    let house = House::build();
    house.depend("engine/protocols/raft", "holdfast-host");
    assert_eq!(
        house.finding(),
        "engine/protocols/raft/Cargo.toml:10: [floors] holdfast-raft depends on holdfast-host, which is not below it; \
         it builds on no other room"
    );
    let house = House::build();
    house.append("engine/storage/log/Cargo.toml", "[dev-dependencies]\n");
    house.append(
        "reports/Cargo.toml",
        "holdfast-host = { workspace = true }\n",
    );
    let finding = house.finding();
    assert!(
        finding.contains("holdfast-reports depends on holdfast-host"),
        "{finding}"
    );
    assert!(
        finding.ends_with("it may build on reports/record"),
        "{finding}"
    );
}

#[test]
fn an_arrow_that_only_tests_need_is_found_too() {
    let house = House::build();
    house.append(
        "engine/host/Cargo.toml",
        "[dev-dependencies]\nholdfast-raft = { workspace = true }\n",
    );
    assert!(
        house
            .finding()
            .contains("holdfast-host depends on holdfast-raft")
    );
}

#[test]
fn a_simulator_in_the_engine_is_found() {
    let house = House::build();
    house.depend("engine/services/kv", "madsim");
    let findings = house.findings();
    let places: Vec<&Path> = findings.iter().map(|f| f.file.as_path()).collect();
    assert_eq!(
        places,
        [Path::new("engine/services/kv/Cargo.toml")],
        "{findings:#?}"
    );
    assert_eq!(
        findings[0].instead,
        "only sim talks to madsim: go through it"
    );
}

#[test]
fn a_simulator_that_comes_along_with_another_crate_is_found() {
    let house = House::build();
    house.depend("engine/host", "wrapper");
    let finding = house.finding();
    assert!(
        finding
            .contains("holdfast-host has madsim in its tree: holdfast-host -> wrapper -> madsim"),
        "{finding}"
    );
    assert!(
        finding.starts_with("engine/host/Cargo.toml:10: [floors]"),
        "{finding}"
    );
}

#[test]
fn a_service_that_could_make_up_statements_is_found() {
    let house = House::build();
    house.depend("engine/services/kv", "rusqlite");
    let finding = house.finding();
    assert!(finding.contains("a dependency on rusqlite"), "{finding}");
    for code in [
        "fn f(s: String) -> &'static str { s.leak() }",
        "fn f(s: Box<str>) -> &'static str { Box::leak(s) }",
    ] {
        let house = House::build();
        house.append("engine/services/kv/src/lib.rs", &format!("{code}\n"));
        let finding = house.finding();
        assert!(finding.contains("`leak`; an SQL statement"), "{finding}");
    }
}

#[test]
fn polars_in_the_worker_is_found() {
    let house = House::build();
    house.depend("scenarios", "polars");
    assert!(
        house
            .finding()
            .contains("holdfast-scenarios has polars in its tree")
    );
}

#[test]
fn a_room_that_nobody_drew_is_found() {
    let house = House::build();
    house.package("engine/attic", "holdfast-attic", &[]);
    let manifest = fs::read_to_string(house.root().join("Cargo.toml")).unwrap();
    house.write(
        "Cargo.toml",
        &manifest.replace("members = [", "members = [\"engine/attic\", "),
    );
    let finding = house.finding();
    assert!(
        finding.contains("holdfast-attic is in no room that is known"),
        "{finding}"
    );
}

#[test]
fn conventions_are_kept() {
    let house = House::build();
    house.write("notes.txt", "");
    assert!(
        house
            .finding()
            .starts_with("notes.txt:1: [top-level] nothing else belongs at the top")
    );

    let house = House::build();
    fs::remove_file(house.root().join("LICENSE")).unwrap();
    assert!(
        house
            .finding()
            .starts_with("LICENSE:1: [top-level] it is missing")
    );

    let house = House::build();
    house.write("sim/src/long.rs", &"//\n".repeat(800));
    assert_eq!(house.findings(), []);
    house.write("sim/src/long.rs", &"//\n".repeat(801));
    assert!(
        house
            .finding()
            .starts_with("sim/src/long.rs:801: [file-length] 801 lines")
    );

    let house = House::build();
    house.append(
        "sim/Cargo.toml",
        "[dev-dependencies]\nwrapper = { path = \"../../others/wrapper\" }\n",
    );
    assert!(
        house
            .finding()
            .starts_with("sim/Cargo.toml:13: [manifest] the version of wrapper is chosen here")
    );
}

#[test]
fn this_house_keeps_its_floors_and_its_source_asks_the_host() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = xtask::lint::floors::check(root).unwrap();
    found.extend(xtask::lint::source::check(root).unwrap());
    let lines: Vec<String> = found.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{lines:#?}");
}
