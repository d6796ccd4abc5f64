//! The faulty site on loopback, in a process of its own: for the benchmark, and to look at by hand.
//!
//! Prints one line of JSON when it listens, a [`Site`]; then one line of JSON for each line of its standard input:
//! `summary` asks what was asked of it, and `reset` forgets that. Ends with its input.

use crate::measure::Result;
use holdfast_host::tokio_host;
use holdfast_scenarios::web::{
    StaticShape,
    serve::{Loopback, Summary},
};
use serde::{Deserialize, Serialize};
use std::{
    io::{BufRead, Write},
    path::PathBuf,
};
use tokio::runtime::Builder;

/// What to serve.
#[derive(clap::Args)]
pub struct Arguments {
    /// The port of the site itself; any that is free when nothing is said. Its neighbours take any.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// What the site is drawn from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Ordinary pages.
    #[arg(long, default_value_t = 2000)]
    pub pages: usize,
    /// Targets that a checker must report; one of every kind when nothing is said.
    #[arg(long)]
    pub faults: Option<usize>,
    /// Have faults, too, for which a client has to wait.
    #[arg(long)]
    pub slow: bool,
    /// A file for the certificate of the authority that signed the good certificates, in PEM.
    #[arg(long, value_name = "FILE")]
    pub authority: Option<PathBuf>,
    /// A file for the truth, in JSON.
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
}

/// What is served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    /// Where to begin.
    pub root: String,
    /// Every HTML page that a crawl reaches.
    pub pages: Vec<String>,
    /// Links, each occurrence counted.
    pub links: u64,
    /// Distinct targets.
    pub targets: u64,
}

/// Serves until standard input ends.
pub fn serve(arguments: &Arguments) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let host = tokio_host::host(std::env::temp_dir(), runtime.handle().clone());
    let shape = |addresses| StaticShape {
        pages: arguments.pages.max(1),
        faults: arguments
            .faults
            .unwrap_or_else(|| StaticShape::kinds(arguments.slow)),
        slow: arguments.slow,
        ..StaticShape::benchmark(addresses)
    };
    let starting = Loopback::start(&host, arguments.port, arguments.seed, shape);
    let site = runtime.block_on(starting)?;
    if let Some(file) = &arguments.authority {
        std::fs::write(file, &site.authority_pem)?;
    }
    if let Some(file) = &arguments.truth {
        std::fs::write(file, serde_json::to_string_pretty(&site.web.truth_of(0))?)?;
    }
    say(&Site {
        root: site.root().to_string(),
        pages: site.web.origins()[0].pages().to_vec(),
        links: site.web.links().count() as u64,
        targets: site.web.truth_of(0).iter().count() as u64,
    })?;
    let (ended, end) = tokio::sync::oneshot::channel();
    let observed = site.observed.clone();
    // Reading blocks: it has a thread of its own, and the one that serves is left alone.
    std::thread::spawn(move || {
        for line in std::io::stdin()
            .lock()
            .lines()
            .map_while(std::result::Result::ok)
        {
            let said = match line.trim() {
                "reset" => {
                    observed.reset();
                    say(&Summary::default())
                }
                _ => say(&observed.summary()),
            };
            if said.is_err() {
                break;
            }
        }
        let _ = ended.send(());
    });
    // An error is an end, too.
    let _ = runtime.block_on(end);
    Ok(())
}

fn say(document: &impl Serialize) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", serde_json::to_string(document)?)?;
    Ok(output.flush()?)
}
