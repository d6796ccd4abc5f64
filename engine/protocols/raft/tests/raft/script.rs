//! The format of the scripts in `fixtures/etcd-raft`: a command, a line of dashes, what it should print, a blank line.

use std::{fs, path::PathBuf};

/// One command of a script and what it should print.
#[derive(Clone, Debug)]
pub struct Command {
    /// Where it stands, for messages.
    pub place: String,
    pub name: String,
    /// What has no `=`.
    pub words: Vec<String>,
    /// `key=value` and `key=(value,value)`.
    pub options: Vec<(String, Vec<String>)>,
    /// Lines between the command and the dashes.
    pub input: Vec<String>,
    /// Lines after the dashes.
    pub expected: Vec<String>,
}

impl Command {
    pub fn option(&self, key: &str) -> Option<&[String]> {
        let found = self.options.iter().find(|(name, _)| name == key);
        found.map(|(_, values)| &values[..])
    }

    /// An option's only value.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.option(key).map(|values| {
            assert_eq!(values.len(), 1, "{}: {key} has one value", self.place);
            &values[0][..]
        })
    }

    /// The values of an option as numbers.
    pub fn numbers(&self, key: &str) -> Option<Vec<u64>> {
        let numbers = |values: &[String]| {
            let parsed = values.iter().map(|value| value.parse());
            parsed
                .collect::<Result<_, _>>()
                .unwrap_or_else(|_| panic!("{}: {key} has numbers", self.place))
        };
        self.option(key).map(numbers)
    }
}

/// The scripts of a folder, by name, in order.
pub fn folder(name: &str) -> Vec<(String, Vec<Command>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../fixtures/etcd-raft")
        .join(name);
    let entries = fs::read_dir(&folder).expect("the fixtures are there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).expect("a fixture is text");
            let commands = parse(&name, &text);
            (name, commands)
        })
        .collect()
}

fn parse(name: &str, text: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut command = parse_command(format!("{name}:{}", number + 1), line);
        let input = lines.by_ref().map(|(_, line)| line);
        let input = input.take_while(|line| *line != "----");
        command.input = input.map(str::to_owned).collect();
        let expected = lines.by_ref().map(|(_, line)| line);
        let expected = expected.take_while(|line| !line.trim().is_empty());
        command.expected = expected.map(str::to_owned).collect();
        commands.push(command);
    }
    commands
}

/// Words are separated by spaces, except within parentheses.
fn parse_command(place: String, line: &str) -> Command {
    let mut words = vec![String::new()];
    let mut depth = 0;
    for c in line.trim().chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if c == ' ' && depth == 0 {
            words.push(String::new());
        } else if c != ' ' {
            words.last_mut().expect("never empty").push(c);
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut command = Command {
        place,
        name: words.next().expect("the line is not empty"),
        words: Vec::new(),
        options: Vec::new(),
        input: Vec::new(),
        expected: Vec::new(),
    };
    for word in words {
        match word.split_once('=') {
            None => command.words.push(word),
            Some((key, value)) => {
                let inner = value.trim_start_matches('(').trim_end_matches(')');
                let values = inner.split(',').filter(|value| !value.is_empty());
                let values = values.map(str::to_owned).collect();
                command.options.push((key.to_owned(), values));
            }
        }
    }
    command
}
