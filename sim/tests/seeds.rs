//! Hundreds of seeds.

use postrider_sim::run;

#[test]
fn whatever_goes_wrong_nothing_is_lost() {
    for seed in 0..300 {
        let report = run::run(seed);
        assert!(report.outcome.is_ok(), "{report}");
    }
}
