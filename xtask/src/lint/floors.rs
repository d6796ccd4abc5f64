//! Which room may build on which, from `cargo metadata`; ARCHITECTURE.md, "Floors", draws it.

use super::Finding;
use crate::XtaskError;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Node, Package, PackageId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

/// A room of the house, by the folder it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Host,
    Http,
    Fuzz,
    Protocols,
    Storage,
    Replication,
    Services,
    Node,
    Sim,
    Scenarios,
    Benches,
    Record,
    Reports,
    Xtask,
}

impl Room {
    /// The longest folder that matches decides.
    const FOLDERS: [(&str, Room); 14] = [
        ("engine/host", Room::Host),
        ("engine/http", Room::Http),
        ("engine/protocols/kademlia/fuzz", Room::Fuzz),
        ("engine/protocols", Room::Protocols),
        ("engine/storage", Room::Storage),
        ("engine/replication", Room::Replication),
        ("engine/services", Room::Services),
        ("engine/node", Room::Node),
        ("sim", Room::Sim),
        ("scenarios/benches", Room::Benches),
        ("scenarios", Room::Scenarios),
        ("reports/record", Room::Record),
        ("reports", Room::Reports),
        ("xtask", Room::Xtask),
    ];

    fn of(folder: &Path) -> Option<Room> {
        let mut rooms = Self::FOLDERS.iter();
        rooms
            .find(|(prefix, _)| folder.starts_with(prefix))
            .map(|(_, room)| *room)
    }

    /// The rooms that it may build on, tests included.
    fn below(self) -> &'static [Room] {
        use Room::*;
        match self {
            Host | Protocols | Record => &[],
            Fuzz => &[Protocols],
            Http | Storage => &[Host, Protocols],
            Replication => &[Host, Protocols, Storage, Replication],
            Services => &[Host, Http, Protocols, Storage, Replication],
            Node => &[Host, Http, Protocols, Storage, Replication, Services],
            Sim => &[
                Host,
                Http,
                Protocols,
                Storage,
                Replication,
                Services,
                Record,
            ],
            Scenarios => &[
                Host,
                Http,
                Protocols,
                Storage,
                Replication,
                Services,
                Node,
                Sim,
                Record,
            ],
            Benches => &[
                Host,
                Http,
                Protocols,
                Storage,
                Replication,
                Services,
                Node,
                Sim,
                Scenarios,
                Record,
            ],
            Reports => &[Record],
            Xtask => &[Record, Reports],
        }
    }

    fn names(rooms: &[Room]) -> String {
        let named = Self::FOLDERS
            .iter()
            .filter(|(_, room)| rooms.contains(room));
        named
            .map(|(folder, _)| *folder)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Crates of others that must not be in its tree, however they come there, and why.
    fn banned(self) -> &'static [(&'static str, &'static str)] {
        use Room::*;
        const MADSIM: (&str, &str) = (
            "madsim",
            "only sim knows madsim: what ships must not contain a simulator",
        );
        const POLARS: (&str, &str) = (
            "polars",
            "only reports knows polars: what executes seeds is rebuilt with every edit",
        );
        match self {
            Host | Http | Fuzz | Protocols | Storage | Replication | Services | Node | Record => {
                &[MADSIM, POLARS]
            }
            Sim | Scenarios | Benches => &[POLARS],
            Reports | Xtask => &[MADSIM],
        }
    }
}

/// Crates that would take a statement made at run time.
const SQL: [&str; 3] = ["holdfast-sqlite", "rusqlite", "libsqlite3-sys"];

/// Checks the workspace at `root`.
pub fn check(root: &Path) -> Result<Vec<Finding>, XtaskError> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .exec()?;
    Ok(House::new(&metadata).findings())
}

struct House<'a> {
    root: PathBuf,
    packages: BTreeMap<&'a PackageId, &'a Package>,
    nodes: BTreeMap<&'a PackageId, &'a Node>,
    members: Vec<&'a Package>,
}

impl<'a> House<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let resolve = metadata
            .resolve
            .as_ref()
            .expect("metadata with dependencies");
        House {
            root: metadata.workspace_root.clone().into(),
            packages: metadata.packages.iter().map(|p| (&p.id, p)).collect(),
            nodes: resolve.nodes.iter().map(|n| (&n.id, n)).collect(),
            members: metadata.workspace_packages(),
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for member in &self.members {
            let Some(room) = self.room(member) else {
                findings.push(Finding {
                    file: self.manifest(member),
                    line: 1,
                    rule: "floors",
                    problem: format!("{} is in no room that is known", member.name),
                    instead: "give it its place in xtask/src/lint/floors.rs and in ARCHITECTURE.md"
                        .into(),
                });
                continue;
            };
            findings.extend(self.arrows(member, room));
            findings.extend(self.strangers(member, room));
        }
        findings
    }

    /// Direct dependencies, those of tests included, on rooms that are not below.
    fn arrows(&self, member: &Package, room: Room) -> Vec<Finding> {
        let mut findings = Vec::new();
        for dependency in &self.nodes[&member.id].deps {
            let package = self.packages[&dependency.pkg];
            // The benchmarks measure it as a rival.
            let knows_madsim = matches!(room, Room::Sim | Room::Benches);
            if package.name.as_str() == "madsim" && !knows_madsim {
                let instead = "only sim talks to madsim: go through it";
                findings.push(self.finding(
                    member,
                    &["madsim"],
                    "a dependency on madsim".into(),
                    instead,
                ));
            }
            if matches!(room, Room::Services | Room::Node) && SQL.contains(&package.name.as_str()) {
                let instead = "services write SQL through holdfast-tables, whose statements are texts of the program: \
                               what a client sent can only be bound";
                findings.push(self.finding(
                    member,
                    &[package.name.as_str()],
                    format!("a dependency on {}", package.name),
                    instead,
                ));
            }
            let Some(other) = self.room(package) else {
                continue;
            };
            if !room.below().contains(&other) {
                let instead = match room.below() {
                    [] => "it builds on no other room".to_string(),
                    below => format!("it may build on {}", Room::names(below)),
                };
                let problem = format!(
                    "{} depends on {}, which is not below it",
                    member.name, package.name
                );
                findings.push(self.finding(member, &[package.name.as_str()], problem, &instead));
            }
        }
        findings
    }

    /// Crates of others anywhere in its tree that must not be there.
    fn strangers(&self, member: &Package, room: Room) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, reason) in room.banned() {
            let Some(path) = self.path_to(&member.id, name) else {
                continue;
            };
            // A direct dependency on madsim is an arrow, and so is one on a room that has it.
            let first = self.packages[path[0]];
            if self.room(first).is_some() || (path.len() == 1 && *name == "madsim") {
                continue;
            }
            let chain: Vec<&str> = path
                .iter()
                .map(|id| self.packages[*id].name.as_str())
                .collect();
            let problem = format!(
                "{} has {name} in its tree: {} -> {}",
                member.name,
                member.name,
                chain.join(" -> ")
            );
            findings.push(self.finding(member, &chain, problem, reason));
        }
        findings
    }

    /// The shortest way from a member, through its tests too, to a package of that name; without the member itself.
    fn path_to(&self, member: &'a PackageId, name: &str) -> Option<Vec<&'a PackageId>> {
        let mut seen = BTreeSet::from([member]);
        let mut queue = VecDeque::from([vec![member]]);
        while let Some(path) = queue.pop_front() {
            let last = path[path.len() - 1];
            if self.packages[last].name.as_str() == name {
                return Some(path[1..].to_vec());
            }
            for dependency in &self.nodes[last].deps {
                let mut kinds = dependency.dep_kinds.iter();
                let tests_only = kinds.all(|kind| kind.kind == DependencyKind::Development);
                if (last == member || !tests_only) && seen.insert(&dependency.pkg) {
                    queue.push_back([&path[..], &[&dependency.pkg]].concat());
                }
            }
        }
        None
    }

    fn room(&self, package: &Package) -> Option<Room> {
        let manifest = package.manifest_path.as_std_path().parent()?;
        Room::of(manifest.strip_prefix(&self.root).ok()?)
    }

    fn manifest(&self, member: &Package) -> PathBuf {
        let path = member.manifest_path.as_std_path();
        path.strip_prefix(&self.root).unwrap_or(path).to_path_buf()
    }

    /// A finding at the line of the manifest that names the first of `names`.
    fn finding(&self, member: &Package, names: &[&str], problem: String, instead: &str) -> Finding {
        let text = std::fs::read_to_string(&member.manifest_path).unwrap_or_default();
        let line = text.lines().position(|line| line.starts_with(names[0]));
        Finding {
            file: self.manifest(member),
            line: line.map_or(1, |i| i + 1),
            rule: "floors",
            problem,
            instead: instead.to_string(),
        }
    }
}
