//! The checker against public histories with known verdicts (`fixtures/porcupine`).

#![allow(clippy::disallowed_methods, reason = "a test reads its fixtures")]

use holdfast_sim::check::linearizability::{Model, Operation, Verdict, check};
use std::{collections::BTreeMap, path::PathBuf};

fn fixture(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../fixtures/porcupine", name]
        .iter()
        .collect();
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Jepsen's etcd runs: one register with read, write and compare-and-set.
struct CasRegister;

#[derive(Debug, Clone)]
enum RegisterCall {
    Read,
    Write(i64),
    Cas(i64, i64),
}

#[derive(Debug, Clone, PartialEq)]
enum RegisterReturn {
    Read(Option<i64>),
    Written,
    Cas(bool),
}

impl Model for CasRegister {
    type Call = RegisterCall;
    type Return = RegisterReturn;
    type State = Option<i64>;

    fn initial(&self) -> Option<i64> {
        None
    }

    fn step(
        &self,
        state: &Option<i64>,
        call: &RegisterCall,
        returned: Option<&RegisterReturn>,
    ) -> Option<Option<i64>> {
        match (call, returned) {
            (RegisterCall::Read, None) => Some(*state),
            (RegisterCall::Read, Some(RegisterReturn::Read(value))) => {
                (value == state).then_some(*state)
            }
            (RegisterCall::Write(value), _) => Some(Some(*value)),
            (RegisterCall::Cas(from, to), returned) => {
                let matches = *state == Some(*from);
                match returned {
                    Some(RegisterReturn::Cas(ok)) if *ok != matches => None,
                    _ => Some(if matches { Some(*to) } else { *state }),
                }
            }
            (call, returned) => panic!("{call:?} cannot return {returned:?}"),
        }
    }
}

fn number(word: &str) -> i64 {
    word.parse()
        .unwrap_or_else(|error| panic!("{word:?}: {error}"))
}

/// Lines such as `INFO  jepsen.util - 4 :invoke :cas [3 1]`; `:info` leaves an operation open for ever.
fn parse_etcd(text: &str) -> Vec<Operation<RegisterCall, RegisterReturn>> {
    let mut operations: Vec<Operation<RegisterCall, RegisterReturn>> = Vec::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let Some((_, event)) = line.split_once("jepsen.util - ") else {
            continue;
        };
        let words: Vec<&str> = event
            .split(|c: char| c.is_whitespace() || c == '[' || c == ']')
            .filter(|word| !word.is_empty())
            .collect();
        let [process, kind, function, arguments @ ..] = &words[..] else {
            continue;
        };
        match *kind {
            ":invoke" => {
                let call = match *function {
                    ":read" => RegisterCall::Read,
                    ":write" => RegisterCall::Write(number(arguments[0])),
                    ":cas" => RegisterCall::Cas(number(arguments[0]), number(arguments[1])),
                    other => panic!("{other}"),
                };
                open.insert(process, operations.len());
                operations.push(Operation {
                    called: at as u64,
                    returned: None,
                    call,
                });
            }
            ":ok" | ":fail" => {
                let i = open.remove(process).expect("an open call");
                let ok = *kind == ":ok";
                let returned = match &operations[i].call {
                    RegisterCall::Read if ok => {
                        RegisterReturn::Read((arguments[0] != "nil").then(|| number(arguments[0])))
                    }
                    RegisterCall::Cas(..) => RegisterReturn::Cas(ok),
                    RegisterCall::Write(_) if ok => RegisterReturn::Written,
                    // A read that failed told nothing; a write that failed was not made.
                    _ => {
                        operations[i].returned = None;
                        continue;
                    }
                };
                operations[i].returned = Some((at as u64, returned));
            }
            ":info" => {
                open.remove(process);
            }
            other => panic!("{other}"),
        }
    }
    operations
}

#[test]
fn every_etcd_history_gets_its_known_verdict() {
    let table = fixture("README.md");
    let mut checked = 0;
    for line in table.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, verdict @ ("yes" | "no"), _] = &cells[..] else {
            continue;
        };
        let history = parse_etcd(&fixture(&format!("etcd_{name}.log")));
        assert!(history.len() > 20, "etcd_{name}: {}", history.len());
        let found = check(&CasRegister, &history, 50_000_000);
        assert_ne!(found, Verdict::Undecided, "etcd_{name}");
        assert_eq!(
            found == Verdict::Linearizable,
            *verdict == "yes",
            "etcd_{name}: {found:?}"
        );
        checked += 1;
    }
    assert_eq!(checked, 50);
}

/// A string that can be read, replaced and appended to: one key of the key-value histories.
struct Text;

#[derive(Debug, Clone)]
enum TextCall {
    Get,
    Put(String),
    Append(String),
}

impl Model for Text {
    type Call = TextCall;
    type Return = String;
    type State = String;

    fn initial(&self) -> String {
        String::new()
    }

    fn step(&self, state: &String, call: &TextCall, returned: Option<&String>) -> Option<String> {
        match call {
            TextCall::Get => returned.is_none_or(|r| r == state).then(|| state.clone()),
            TextCall::Put(value) => Some(value.clone()),
            TextCall::Append(value) => Some(format!("{state}{value}")),
        }
    }
}

/// Lines such as `{:process 0, :type :invoke, :f :append, :key "0", :value "x 0 0 y"}`, by key.
fn parse_kv(text: &str) -> BTreeMap<String, Vec<Operation<TextCall, String>>> {
    let mut keys: BTreeMap<String, Vec<Operation<TextCall, String>>> = BTreeMap::new();
    let mut open: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let field = |name: &str| -> &str {
            let (_, rest) = line
                .split_once(name)
                .unwrap_or_else(|| panic!("{name}: {line}"));
            let rest = rest.trim_start();
            match rest.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next().expect("split yields"),
                None => rest.split([',', '}']).next().expect("split yields"),
            }
        };
        let process = field(":process").to_string();
        let key = field(":key").to_string();
        let value = || field(":value").to_string();
        match field(":type") {
            ":invoke" => {
                let call = match field(":f") {
                    ":get" => TextCall::Get,
                    ":put" => TextCall::Put(value()),
                    ":append" => TextCall::Append(value()),
                    other => panic!("{other}"),
                };
                let operations = keys.entry(key.clone()).or_default();
                open.insert(process, (key, operations.len()));
                operations.push(Operation {
                    called: at as u64,
                    returned: None,
                    call,
                });
            }
            ":ok" => {
                let (key, i) = open.remove(&process).expect("an open call");
                let operation = &mut keys.get_mut(&key).expect("known key")[i];
                operation.returned = Some((at as u64, value()));
            }
            other => panic!("{other}"),
        }
    }
    keys
}

fn check_kv(name: &str) -> bool {
    let keys = parse_kv(&fixture(name));
    assert!(!keys.is_empty());
    keys.values().all(|history| {
        let verdict = check(&Text, history, 50_000_000);
        assert_ne!(verdict, Verdict::Undecided, "{name}");
        verdict == Verdict::Linearizable
    })
}

#[test]
fn every_key_value_history_gets_its_known_verdict() {
    for name in ["c01", "c10"] {
        assert!(check_kv(&format!("{name}-ok.txt")), "{name}-ok");
        assert!(!check_kv(&format!("{name}-bad.txt")), "{name}-bad");
    }
}
