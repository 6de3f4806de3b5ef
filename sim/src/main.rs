//! Runs many seeds, or one with all that happened in it.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use clap::Parser;
use postrider_sim::{
    latency::{Noise, measure},
    receivers::Manner,
    run::{Report, run, run_once},
};

/// Runs the core in simulated worlds, of which each is a seed's.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds to run
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this seed alone, and say how it went
    #[arg(long)]
    seed: Option<u64>,
    /// Measure whom a noisy tenant delays, and run no seeds
    #[arg(long)]
    latency: bool,
    /// Go on after a seed that fails, and count what fails
    #[arg(long)]
    all: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(seed) = args.seed {
        let report = run_once(seed, true);
        println!("{report}");
        return if report.outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if args.latency {
        tell_latency();
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let failed = many(&args);
    let (count, took) = (failed.values().map(Vec::len).sum::<usize>(), began.elapsed());
    println!("{} seeds from {}, {count} failed, in {took:.1?}", args.seeds, args.from);
    for (invariant, mut reports) in failed {
        reports.sort_by_key(|report| report.seed);
        let seeds: Vec<u64> = reports.iter().map(|report| report.seed).take(10).collect();
        println!("\n{} times not so: {invariant}; seeds {seeds:?}\n{}", reports.len(), reports[0]);
    }
    if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Three quiet tenants alone, and beside one that is not.
fn tell_latency() {
    let alone = Noise { quiet: 3, events: 200, times: 0, manner: Manner::Takes };
    println!("alone:                         {}", measure(1, alone));
    println!("beside one of ten times more:  {}", measure(1, Noise { times: 10, ..alone }));
    println!(
        "beside one that is dead:       {}",
        measure(1, Noise { times: 1, manner: Manner::Hangs, ..alone })
    );
    println!(
        "beside both in one:            {}",
        measure(1, Noise { times: 10, manner: Manner::Hangs, ..alone })
    );
}

/// Runs seeds on all cores: each is one thread's own. Stops early at the first that fails, unless told to go on.
fn many(args: &Args) -> BTreeMap<&'static str, Vec<Report>> {
    let next = AtomicU64::new(args.from);
    let end = args.from + args.seeds;
    let work = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return failed;
            }
            let report = run(seed);
            if report.outcome.is_err() {
                failed.push(report);
                if !args.all {
                    next.fetch_max(end, Ordering::Relaxed);
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let failed: Vec<Report> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let mut by_invariant: BTreeMap<_, Vec<Report>> = BTreeMap::new();
    for report in failed {
        let Err(violation) = &report.outcome else { continue };
        by_invariant.entry(violation.invariant).or_default().push(report);
    }
    by_invariant
}
