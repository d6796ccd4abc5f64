//! Whole groups, step by step, as `fixtures/etcd-raft/interaction` has them: this core executes a script's commands,
//! and messages, entries written and applied, terms, votes, commit indexes, roles, logs and progress are compared.

use crate::{
    facts::{Facts, Spelling, became, expected, hard_state, raft_state, soft_state, status},
    script::{Command, folder},
    world::{Done, ELECTION_TICKS, Platter, World, config},
};
use holdfast_raft::{Membership, Message, Mutant, NodeId, SnapshotMeta};
use std::sync::Arc;

/// Scripts whose subject is a change of the membership, which this core does not know yet.
const WAITING: [&str; 3] = [
    "confchange_v1_add_single",
    "confchange_v2_add_double_auto",
    "confchange_v2_replace_leader",
];

struct Runner {
    world: World,
    mutant: Option<Mutant>,
    spelling: Spelling,
    is_silent: bool,
    /// How this core differs from the script.
    differences: Vec<String>,
    /// How many things were compared.
    compared: usize,
}

impl Runner {
    fn run(commands: &[Command], mutant: Option<Mutant>) -> Runner {
        let mut runner = Runner {
            world: World::default(),
            mutant,
            spelling: Spelling { base: 0 },
            is_silent: false,
            differences: Vec::new(),
            compared: 0,
        };
        for command in commands {
            runner.execute(command);
        }
        runner
    }

    fn execute(&mut self, command: &Command) {
        let one = || node(&command.words[0]);
        match &command.name[..] {
            "log-level" => self.is_silent = command.words == ["none"],
            "add-nodes" => self.add_nodes(command),
            "campaign" => {
                self.world.campaign(one());
                self.compare(command, Facts::default());
            }
            "propose" => self.world.propose(one(), &command.words[1]),
            "stabilize" => self.stabilize(command),
            "process-ready" => {
                let mut facts = Facts::default();
                for id in nodes(&command.words) {
                    let done = self.world.act(id);
                    self.note(&mut facts, id, &done, &[]);
                }
                self.compare(command, facts);
            }
            "process-append-thread" => {
                let mut facts = Facts::default();
                for id in nodes(&command.words) {
                    let sent = self.world.write(id);
                    let done = Done {
                        sent,
                        ..Done::default()
                    };
                    self.note(&mut facts, id, &done, &[]);
                }
                self.compare(command, facts);
            }
            "deliver-msgs" => self.deliver(command),
            "tick-heartbeat" | "tick-election" => {
                let ticks = match command.name == "tick-election" {
                    true => ELECTION_TICKS,
                    false => 1,
                };
                for _ in 0..ticks {
                    self.world.tick(one());
                }
                self.compare(command, Facts::default());
            }
            "forget-leader" => {
                self.world.call(one(), |raft, now| raft.forget_leader(now));
            }
            "compact" => {
                let index = command.words[1].parse().expect("an index");
                self.world.compact(one(), index);
                self.compare_log(command, one());
            }
            "set-randomized-election-timeout" => self.set_timeout(command),
            "raft-log" => self.compare_log(command, one()),
            "raft-state" => {
                let rafts = self.world.nodes.values().map(|node| &node.raft);
                let found = rafts.map(raft_state).collect();
                self.compare_lines(command, found);
            }
            "status" => {
                let raft = self.world.raft(one());
                let found = raft.progress().iter();
                let found = found.map(|p| without_own_next(&status(p), raft.id()));
                let found = found.collect();
                let mut command = command.clone();
                for line in &mut command.expected {
                    *line = without_own_next(line, raft.id());
                }
                self.compare_lines(&command, found);
            }
            other => panic!("{}: no such command: {other}", command.place),
        }
    }

    fn add_nodes(&mut self, command: &Command) {
        let count: u64 = command.words[0].parse().expect("a number of nodes");
        let index = command
            .value("index")
            .map_or(0, |index| index.parse().unwrap());
        let membership = Membership {
            voters: command.numbers("voters").unwrap_or_default(),
            learners: command.numbers("learners").unwrap_or_default(),
        };
        if index > 0 {
            self.spelling.base = index;
        }
        self.world.is_async |= command.value("async-storage-writes") == Some("true");
        let first = self.world.nodes.len() as u64 + 1;
        for id in first..first + count {
            let mut config = config(id, membership.clone());
            config.mutant = self.mutant;
            for (key, values) in &command.options {
                match &key[..] {
                    "voters" | "learners" | "index" | "async-storage-writes" => {}
                    "prevote" => config.pre_vote = values == &["true"],
                    "checkquorum" => config.check_quorum = values == &["true"],
                    "inflight" => config.max_inflight_messages = values[0].parse().unwrap(),
                    other => panic!("{}: no such option: {other}", command.place),
                }
            }
            let snapshot = SnapshotMeta {
                index,
                term: 0,
                membership: Arc::new(membership.clone()),
            };
            let platter = Platter {
                snapshot,
                ..Platter::default()
            };
            self.world.add(config, platter);
        }
    }

    fn stabilize(&mut self, command: &Command) {
        let ids = match &command.words[..] {
            [] => self.world.nodes.keys().copied().collect(),
            words => nodes(words),
        };
        let mut noted = Vec::new();
        self.world.stabilize_with(&ids, |id, done, received| {
            noted.push((id, done, received));
        });
        let mut facts = Facts::default();
        for (id, done, received) in noted {
            self.note(&mut facts, id, &done, &received);
        }
        let was_silent = self.is_silent;
        self.is_silent |= command.value("log-level") == Some("none");
        self.compare(command, facts);
        self.is_silent = was_silent;
    }

    fn deliver(&mut self, command: &Command) {
        let mut facts = Facts::default();
        for id in nodes(&command.words) {
            let received = self.world.deliver(id);
            self.note(&mut facts, id, &Done::default(), &received);
        }
        for id in command.numbers("drop").unwrap_or_default() {
            let lost = self.world.take(id);
            self.note(&mut facts, id, &Done::default(), &lost);
        }
        self.compare(command, facts);
    }

    /// The core's patience is its own affair, so the node's ticks are made as long as it takes.
    fn set_timeout(&mut self, command: &Command) {
        let ticks: u64 = command.value("timeout").unwrap().parse().unwrap();
        let id = node(&command.words[0]);
        let node = self.world.nodes.get_mut(&id).expect("there is such a node");
        let due = node.raft.timeout().expect("it may campaign");
        node.tick = (due - node.now).div_ceil(ticks);
    }

    fn note(&self, facts: &mut Facts, id: NodeId, done: &Done, received: &[Message]) {
        let spell = |messages: &[Message]| -> Vec<String> {
            let lines = messages
                .iter()
                .map(|message| self.spelling.message(message));
            lines.collect()
        };
        facts.sent.extend(spell(&done.sent));
        facts.taken.extend(spell(received));
        for (list, entries) in [
            (&mut facts.written, &done.written),
            (&mut facts.applied, &done.applied),
        ] {
            if !entries.is_empty() {
                let lines = entries.iter().map(|entry| self.spelling.entry(entry));
                list.entry(id).or_default().extend(lines);
            }
        }
    }

    // ---- Comparing ----

    fn differs(&mut self, command: &Command, what: &str, expected: &str, found: &str) {
        self.compared += 1;
        if expected != found {
            let Command { place, name, .. } = command;
            let line =
                format!("{place} {name}, {what}:\n  expected {expected}\n  found    {found}");
            self.differences.push(line);
        }
    }

    fn compare(&mut self, command: &Command, mut found: Facts) {
        if self.is_silent || command.expected == ["ok"] {
            return;
        }
        let (mut expected, states) = expected(command);
        expected.sort();
        found.sort();
        let show = |lines: &[String]| format!("{lines:#?}");
        self.differs(command, "sent", &show(&expected.sent), &show(&found.sent));
        self.differs(
            command,
            "taken",
            &show(&expected.taken),
            &show(&found.taken),
        );
        let show = |lists| format!("{lists:#?}");
        self.differs(
            command,
            "written",
            &show(&expected.written),
            &show(&found.written),
        );
        self.differs(
            command,
            "applied",
            &show(&expected.applied),
            &show(&found.applied),
        );
        for (id, state) in states.hard {
            let found = hard_state(self.world.raft(id));
            self.differs(command, &format!("hard state of {id}"), &state, &found);
        }
        for (id, state) in states.soft {
            let found = soft_state(self.world.raft(id));
            self.differs(command, &format!("soft state of {id}"), &state, &found);
        }
        for (id, state) in states.became {
            let found = became(self.world.raft(id));
            self.differs(command, &format!("role of {id}"), &state, &found);
        }
        for (id, index) in states.installed {
            let found = self.world.node(id).platter.snapshot.index;
            self.differs(command, "installed", &index.to_string(), &found.to_string());
        }
    }

    fn compare_log(&mut self, command: &Command, id: NodeId) {
        let entries = self.world.node(id).platter.entries.iter();
        let found = entries.map(|entry| self.spelling.entry(entry)).collect();
        self.compare_lines(command, found);
    }

    fn compare_lines(&mut self, command: &Command, found: Vec<String>) {
        if self.is_silent {
            return assert_eq!(command.expected, ["ok"], "{}", command.place);
        }
        let (expected, found) = (command.expected.join("\n"), found.join("\n"));
        self.differs(command, "lines", &expected, &found);
    }
}

/// A leader's `next` of its own means nothing to anybody: here it is behind the last entry, in the scripts behind the
/// last that was given to the disk.
fn without_own_next(line: &str, own: NodeId) -> String {
    match line.strip_prefix(&format!("{own}: ")) {
        None => line.to_owned(),
        Some(_) => {
            let words = line.split(' ').filter(|word| !word.starts_with("next="));
            words.collect::<Vec<_>>().join(" ")
        }
    }
}

fn node(word: &str) -> NodeId {
    word.parse().expect("a node")
}

fn nodes(words: &[String]) -> Vec<NodeId> {
    words.iter().map(|word| node(word)).collect()
}

#[test]
fn groups_do_what_the_scripts_say() {
    let (mut run, mut compared, mut differences) = (Vec::new(), 0, Vec::new());
    for (name, commands) in folder("interaction") {
        let changes_membership = commands.iter().any(|c| c.name == "propose-conf-change");
        assert_eq!(changes_membership, WAITING.contains(&&name[..]), "{name}");
        if changes_membership {
            println!("waiting for membership changes: {name}");
            continue;
        }
        let runner = Runner::run(&commands, None);
        println!("run: {name}: {} comparisons", runner.compared);
        assert!(runner.compared > 0, "{name} compares nothing");
        compared += runner.compared;
        differences.extend(runner.differences);
        run.push(name);
    }
    println!("{} scripts run, {} waiting", run.len(), WAITING.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(run.len(), 11);
    assert!(compared > 300, "{compared}");
}

/// That the scripts say something is shown by bugs, which make a difference to what they say.
#[test]
fn planted_bugs_differ_from_the_scripts() {
    let name = "async_storage_writes_append_aba_race";
    for mutant in [Mutant::VoteBeforeSync, Mutant::AcknowledgeBeforeSync] {
        let mut scripts = folder("interaction").into_iter();
        let (_, commands) = scripts
            .find(|(n, _)| n == name)
            .expect("the script is there");
        let runner = Runner::run(&commands, Some(mutant));
        assert!(!runner.differences.is_empty(), "{mutant:?}");
    }
}
