use super::{Connection, Failure, finish, print_json};
use clap::Args;
use holdfast_host::Host;
use holdfast_node::{client::ClientError, wire::StatusReply};
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Show what nodes say of themselves.
#[derive(Debug, Args)]
pub struct Status {
    /// Include a hash over the replicated state: replicas that applied the same entries have the same
    #[arg(long)]
    digest: bool,
}

/// Asks every endpoint once; fails when one does not answer.
pub async fn run(host: Host, status: Status, connection: Connection) -> ExitCode {
    let client = match connection.client(&host).await {
        Ok(client) => client,
        Err(failure) => return finish(Err(failure)),
    };
    let mut answers = Vec::new();
    for endpoint in client.endpoints() {
        let answer = if status.digest {
            client.status_with_digest(endpoint).await
        } else {
            client.status(endpoint).await
        };
        answers.push((endpoint.clone(), answer));
    }
    let printed = if connection.json {
        print_as_json(&answers)
    } else {
        print_table(&answers)
    };
    if let Err(error) = printed {
        return finish(Err(Failure::Io(error)));
    }
    let first_error = answers.into_iter().find_map(|(_, answer)| answer.err());
    finish(first_error.map_or(Ok(()), |error| Err(Failure::Client(error))))
}

type Answers = [(String, Result<StatusReply, ClientError>)];

fn print_as_json(answers: &Answers) -> io::Result<()> {
    for (endpoint, answer) in answers {
        match answer {
            Ok(status) => print_json(&serde_json::json!({"endpoint": endpoint, "status": status}))?,
            Err(error) => {
                print_json(&serde_json::json!({"endpoint": endpoint, "error": error.to_string()}))?
            }
        }
    }
    Ok(())
}

fn print_table(answers: &Answers) -> io::Result<()> {
    let header = [
        "ENDPOINT", "NODE", "ROLE", "TERM", "LEADER", "COMMIT", "APPLIED", "REVISION", "KEYS",
        "DIGEST",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    for (endpoint, answer) in answers {
        let Ok(status) = answer else {
            let mut row = [const { String::new() }; 10];
            row[0].clone_from(endpoint);
            row[2] = "no answer".to_owned();
            rows.push(row);
            continue;
        };
        rows.push([
            endpoint.clone(),
            status.node.to_string(),
            status
                .failed
                .as_ref()
                .map_or(status.role.clone(), |_| "failed".to_owned()),
            status.term.to_string(),
            status
                .leader
                .map_or("-".to_owned(), |leader| leader.to_string()),
            status.commit.to_string(),
            status.applied.to_string(),
            status.revision.to_string(),
            status.keys.to_string(),
            status.digest.clone().unwrap_or_default(),
        ]);
    }
    let mut widths = [0; 10];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = io::stdout().lock();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    out.flush()
}
