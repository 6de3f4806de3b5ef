//! whbench: load, latency, loss and duplicates of a webhook-delivery service. See README.md.

#![allow(clippy::cast_precision_loss, reason = "figures for people: 53 bits are enough")]

mod account;
mod client;
mod peer;
mod proc;
mod publisher;
mod receiver;
mod report;
mod run;
mod signature;
mod stats;
mod target;

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use account::Outcome;
use client::HttpClient;
use target::Access;

#[derive(Parser)]
#[command(about = "Load, latency, loss and duplicate harness for webhook-delivery services")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One measured run
    Run(Box<run::RunArgs>),
    /// Minimum / median / maximum of result files, by label
    Report {
        /// Figures of another system to print beside, for the labels that it has
        #[arg(long)]
        peer: Option<PathBuf>,
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Wait until the target serves; prints the milliseconds it took
    Ready {
        #[arg(long)]
        target: String,
        #[arg(long, default_value = "http://127.0.0.1:8071")]
        url: String,
        #[arg(long, default_value_t = 60)]
        limit_s: u64,
    },
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    match Args::parse().command {
        Command::Run(args) => {
            let out = args.out.clone();
            let outcome = run::run(*args).await?;
            println!("{}", serde_json::to_string_pretty(&outcome)?);
            out.map_or(Ok(()), |file| append(&file, &outcome))
        }
        Command::Report { peer, files } => report::report(&files, peer.as_deref()),
        Command::Ready { target, url, limit_s } => {
            let target = target::build(&target, &Access { url, token: String::new() })?;
            let http = HttpClient::new(Duration::from_secs(2));
            let start = Instant::now();
            target::wait_ready(&*target, &http, Duration::from_secs(limit_s)).await?;
            println!("{:.1}", start.elapsed().as_secs_f64() * 1e3);
            Ok(())
        }
    }
}

fn append(file: &Path, outcome: &Outcome) -> Result<()> {
    let line = serde_json::to_string(outcome)?;
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .with_context(|| file.display().to_string())?;
    Ok(writeln!(file, "{line}")?)
}
