//! What a script says that a command should do, and what it did, in the scripts' own spelling.

use crate::{script::Command, world::text};
use holdfast_raft::{Body, Entry, Message, Mode, NodeId, Progress, Raft, Role, Term};
use std::collections::BTreeMap;

/// What happened in one command. Messages in no order: what nodes do independently of each other may be interleaved
/// in any way.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub sent: Vec<String>,
    /// Received or lost: taken off the network.
    pub taken: Vec<String>,
    pub written: BTreeMap<NodeId, Vec<String>>,
    pub applied: BTreeMap<NodeId, Vec<String>>,
}

/// What a script says about nodes' states after a command.
#[derive(Debug, Default)]
pub struct States {
    /// `Term:_ Vote:_ Commit:_`.
    pub hard: BTreeMap<NodeId, String>,
    /// `Lead:_ State:_`.
    pub soft: BTreeMap<NodeId, String>,
    /// What a node became last, and its term.
    pub became: BTreeMap<NodeId, String>,
    /// Index of an installed snapshot.
    pub installed: BTreeMap<NodeId, u64>,
}

impl Facts {
    pub fn sort(&mut self) {
        self.sent.sort();
        self.taken.sort();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    None,
    Written,
    Applied,
    Sent,
    Taken,
    /// What the storage is asked to do, told again.
    Storage,
}

/// Reads a command's expected lines. Panics on a line that it does not know: nothing is passed over in silence.
pub fn expected(command: &Command) -> (Facts, States) {
    let (mut facts, mut states) = (Facts::default(), States::default());
    let mut node = command.words.first().and_then(|word| word.parse().ok());
    let mut section = match &command.name[..] {
        "deliver-msgs" => Section::Taken,
        _ => Section::None,
    };
    let lines = join(&command.expected);
    for line in &lines {
        let this = || node.unwrap_or_else(|| panic!("{}: whose is {line}?", command.place));
        if let Some(log) = line.strip_prefix("INFO ").or(line.strip_prefix("WARN ")) {
            note_log(&mut states, log);
        } else if line.starts_with("DEBUG ") || line.starts_with("Ready MustSync=") {
        } else if let Some(header) = line.strip_prefix("> ") {
            let (id, what) = header.split_once(' ').expect("a node and what it does");
            node = Some(id.parse().expect("a node"));
            section = match what {
                "receiving messages" => Section::Taken,
                _ => Section::None,
            };
        } else if let Some(hard) = line.strip_prefix("HardState ") {
            states.hard.insert(this(), hard.to_owned());
        } else if line.starts_with("Lead:") {
            states.soft.insert(this(), line.clone());
        } else if let Some(snapshot) = line.strip_prefix("Snapshot Index:") {
            let index = snapshot.split(' ').next().expect("an index");
            states.installed.insert(this(), index.parse().unwrap());
        } else if line.starts_with("Snapshot: ") {
            // Belongs to the message above.
        } else if let Some(dropped) = line.strip_prefix("dropped: ") {
            facts.taken.push(dropped.to_owned());
        } else if let Some(next) = heading(line) {
            section = next;
        } else if line.contains("AppendThread") || section == Section::Storage {
            // Between the core and its own storage.
        } else if is_message(line) {
            match section {
                Section::Taken => facts.taken.push(line.clone()),
                Section::Sent => facts.sent.push(line.clone()),
                _ => panic!("{}: a message where none is: {line}", command.place),
            }
        } else if line.contains(" EntryNormal ") {
            let list = match section {
                Section::Written => &mut facts.written,
                Section::Applied => &mut facts.applied,
                _ => panic!("{}: an entry where none is: {line}", command.place),
            };
            list.entry(this()).or_default().push(line.clone());
        } else {
            panic!("{}: unknown line: {line}", command.place);
        }
    }
    let to_itself = |line: &String| {
        let (from, rest) = line.split_once("->").expect("a message");
        rest.split(' ').next() == Some(from)
    };
    facts.sent.retain(|line| !to_itself(line));
    facts.taken.retain(|line| !to_itself(line));
    (facts, states)
}

fn heading(line: &str) -> Option<Section> {
    Some(match line {
        "Entries:" => Section::Written,
        "CommittedEntries:" => Section::Applied,
        "Messages:" | "Responses:" => Section::Sent,
        "Processing:" => Section::Storage,
        _ => return None,
    })
}

fn is_message(line: &str) -> bool {
    let Some((from, rest)) = line.split_once("->") else {
        return false;
    };
    from.parse::<NodeId>().is_ok() && rest.contains(" Msg")
}

fn note_log(states: &mut States, log: &str) {
    if let Some((id, rest)) = log.split_once(" became ")
        && let Ok(id) = id.parse()
    {
        states.became.insert(id, rest.to_owned());
    }
}

/// Trims lines, puts the entries of a message into its line, and leaves out what storage is told to answer.
fn join(lines: &[String]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut lines = lines.iter().map(|line| line.trim());
    while let Some(line) = lines.next() {
        let mut line = line.to_owned();
        if line.ends_with('[') {
            let inner: Vec<&str> = lines.by_ref().take_while(|line| *line != "]").collect();
            line += &inner.join(", ");
            line.push(']');
        }
        joined.push(line);
    }
    joined
}

/// Renders as the scripts do. They begin at an entry of term 1 although nobody led in term 1 yet; this core begins at
/// an entry of term 0, since it takes the term of its last entry for one that there was.
#[derive(Clone, Copy)]
pub struct Spelling {
    pub base: u64,
}

impl Spelling {
    fn place(&self, term: Term, index: u64) -> String {
        let is_base = index == self.base && term == 0;
        format!("{}/{index}", if is_base { 1 } else { term })
    }

    pub fn entry(&self, entry: &Entry) -> String {
        let place = self.place(entry.term, entry.index);
        format!("{place} EntryNormal \"{}\"", text(&entry.payload))
    }

    pub fn message(&self, message: &Message) -> String {
        let head = |kind: &str, log: String| {
            let Message { from, to, term, .. } = message;
            format!("{from}->{to} {kind} Term:{term} Log:{log}")
        };
        let none = || "0/0".to_owned();
        let commit = |commit: u64| match commit {
            0 => String::new(),
            commit => format!(" Commit:{commit}"),
        };
        match &message.body {
            Body::Vote {
                last_index,
                last_term,
                pre,
                ..
            } => {
                let kind = if *pre { "MsgPreVote" } else { "MsgVote" };
                head(kind, self.place(*last_term, *last_index))
            }
            Body::VoteReply { pre, granted } => {
                let kind = if *pre {
                    "MsgPreVoteResp"
                } else {
                    "MsgVoteResp"
                };
                let refused = if *granted { "" } else { " Rejected (Hint: 0)" };
                head(kind, none()) + refused
            }
            Body::Append {
                prev_index,
                prev_term,
                commit: index,
                entries,
            } => {
                let mut line = head("MsgApp", self.place(*prev_term, *prev_index));
                line += &commit(*index);
                if !entries.is_empty() {
                    let entries: Vec<String> = entries.iter().map(|e| self.entry(e)).collect();
                    line += &format!(" Entries:[{}]", entries.join(", "));
                }
                line
            }
            Body::Appended { matched } => head("MsgAppResp", format!("0/{matched}")),
            Body::AppendRejected {
                prev_index,
                hint_index,
                hint_term,
            } => {
                let is_base = *hint_index == self.base && *hint_term == 0;
                let term = if is_base { 1 } else { *hint_term };
                let head = head("MsgAppResp", format!("{term}/{prev_index}"));
                format!("{head} Rejected (Hint: {hint_index})")
            }
            Body::Heartbeat { commit: index, .. } => head("MsgHeartbeat", none()) + &commit(*index),
            Body::HeartbeatReply { .. } => head("MsgHeartbeatResp", none()),
            Body::Snapshot { .. } => head("MsgSnap", none()),
            Body::TimeoutNow => head("MsgTimeoutNow", none()),
            Body::Propose { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::ProposalRefused { .. }
            | Body::ReadRefused { .. }
            | Body::TransferLeader { .. } => panic!("no script asks for {message:?}"),
        }
    }
}

pub fn role(role: Role) -> &'static str {
    match role {
        Role::Follower => "StateFollower",
        Role::PreCandidate => "StatePreCandidate",
        Role::Candidate => "StateCandidate",
        Role::Leader => "StateLeader",
    }
}

/// As in the line that says what a node became.
pub fn became(raft: &Raft) -> String {
    let role = match raft.role() {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    };
    format!("{role} at term {}", raft.term())
}

pub fn hard_state(raft: &Raft) -> String {
    let state = raft.hard_state();
    let vote = match state.vote {
        Some(vote) => format!(" Vote:{vote}"),
        None => String::new(),
    };
    format!("Term:{}{vote} Commit:{}", state.term, state.commit)
}

pub fn soft_state(raft: &Raft) -> String {
    let leader = raft.leader().unwrap_or(0);
    format!("Lead:{leader} State:{}", role(raft.role()))
}

/// A line of `raft-state`.
pub fn raft_state(raft: &Raft) -> String {
    let is_voter = raft.membership().voters.contains(&raft.id());
    let kind = if is_voter { "Voter" } else { "Non-Voter" };
    let (id, role, term) = (raft.id(), role(raft.role()), raft.term());
    let leader = raft.leader().unwrap_or(0);
    format!("{id}: {role} ({kind}) Term:{term} Lead:{leader}")
}

/// A line of `status`.
pub fn status(progress: &Progress) -> String {
    let (mode, pending) = match progress.mode() {
        Mode::Probe => ("StateProbe", None),
        Mode::Replicate => ("StateReplicate", None),
        Mode::Snapshot(index) => ("StateSnapshot", Some(index)),
    };
    let (id, matched, next) = (progress.id(), progress.matched(), progress.next());
    let mut line = format!("{id}: {mode} match={matched} next={next}");
    if progress.is_paused() {
        line += " paused";
    }
    if let Some(index) = pending {
        line += &format!(" pendingSnap={index}");
    }
    if !progress.is_active() {
        line += " inactive";
    }
    if progress.inflight() > 0 {
        let full = if progress.is_window_full() {
            "[full]"
        } else {
            ""
        };
        line += &format!(" inflight={}{full}", progress.inflight());
    }
    line
}
