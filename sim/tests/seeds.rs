//! Hundreds of seeds, and that a seed always goes the same way. `SIM_SEED=123 cargo test -p postrider-sim` runs that one.

use std::thread;

use postrider_sim::{
    latency::{Noise, measure},
    receivers::Manner,
    run::{run, run_once},
};

/// How many are run in every test; `make soak` runs more.
const SEEDS: u64 = 300;

#[test]
fn whatever_goes_wrong_nothing_is_lost() {
    #[expect(clippy::disallowed_methods, reason = "which seed to repeat, as its failure named it")]
    let chosen =
        std::env::var("SIM_SEED").ok().map(|seed| seed.parse::<u64>().expect("SIM_SEED is a number"));
    if let Some(seed) = chosen {
        let report = run_once(seed, true);
        assert!(report.outcome.is_ok(), "{report}");
        println!("{report}");
        return;
    }
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || {
                for seed in (first..SEEDS).step_by(usize::try_from(threads).unwrap()) {
                    let report = run(seed);
                    assert!(report.outcome.is_ok(), "{report}");
                }
            });
        }
    });
}

#[test]
fn a_seed_always_goes_the_same_way() {
    for seed in [0, 1, 7, 42, 1234] {
        let (first, again, traced) = (run(seed), run(seed), run_once(seed, true));
        assert_eq!(first, again);
        assert_eq!((first.fingerprint, first.outcome), (traced.fingerprint, traced.outcome));
    }
    assert_ne!(run(1).fingerprint, run(2).fingerprint);
}

#[test]
fn no_tenants_p99_is_moved_by_another() {
    let alone = Noise { quiet: 3, events: 200, times: 0, manner: Manner::Takes };
    let noises = [
        Noise { times: 10, ..alone },
        Noise { times: 1, manner: Manner::Hangs, ..alone },
        Noise { times: 10, manner: Manner::Hangs, ..alone },
    ];
    for seed in 1..=3 {
        let expected = measure(seed, alone);
        assert!(expected.count > 400, "{expected}");
        for noise in noises {
            let beside = measure(seed, noise);
            assert!(beside.count > 400 && beside.longest < 60_000, "all of them arrived: {beside}");
            assert!(beside.p99 * 10 <= expected.p99 * 15, "{noise:?}: {beside}; alone: {expected}");
        }
    }
}

/// A simulation in which nothing goes wrong would prove nothing.
#[test]
fn much_goes_wrong() {
    let reports: Vec<_> = (0..150).map(run).collect();
    let tallies = || reports.iter().map(|report| *report.outcome.as_ref().unwrap());
    let seeds = |found: fn(&postrider_sim::check::Tally) -> bool| tallies().filter(found).count();
    assert!(reports.iter().filter(|report| report.crashes > 0).count() > 20);
    assert!(seeds(|tally| tally.parked > 0) > 10);
    assert!(seeds(|tally| tally.failed > 0) > 10);
    assert!(seeds(|tally| tally.orphaned > 0) > 3);
    assert!(seeds(|tally| tally.waited > 0) > 10);
    assert!(seeds(|tally| tally.overlaps > 0) > 0);
    assert!(seeds(|tally| tally.dead_letters > 0) > 3);
    assert!(seeds(|tally| tally.arrivals > tally.delivered) > 40);
    assert!(tallies().map(|tally| tally.delivered).sum::<usize>() > 500);
}
