//! Aggregates result lines: minimum / median / maximum per label and target, and beside them what a
//! peer reached.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    account::Outcome,
    peer::{Figure, Peer},
    proc::{HARNESS, Usage},
    stats::{Summary, spread},
};

type Column = (&'static str, fn(&Outcome) -> Option<f64>);

const COLUMNS: &[Column] = &[
    ("accept/s", |o| Some(o.accept_per_s)),
    ("publish p50 ms", |o| p50(o.publish.as_ref())),
    ("publish p99 ms", |o| p99(o.publish.as_ref())),
    ("delivered/s", |o| Some(o.delivered_per_s)),
    ("delivered/s (mid 80%)", |o| Some(o.delivered_mid_per_s)),
    ("drain ms", |o| Some(o.drain_ms)),
    ("e2e from submit p50 ms", |o| p50(o.e2e_from_submit.as_ref())),
    ("e2e from submit p99 ms", |o| p99(o.e2e_from_submit.as_ref())),
    ("e2e from accept p50 ms", |o| p50(o.e2e_from_accept.as_ref())),
    ("e2e from accept p99 ms", |o| p99(o.e2e_from_accept.as_ref())),
    ("e2e other apps p50 ms", |o| p50(o.e2e_other_apps.as_ref())),
    ("e2e other apps p99 ms", |o| p99(o.e2e_other_apps.as_ref())),
    ("e2e slow apps p50 ms", |o| p50(o.e2e_slow_apps.as_ref())),
    ("deliveries", |o| Some(o.deliveries as f64)),
    ("lost", |o| Some(o.lost as f64)),
    ("duplicates", |o| Some(o.duplicates as f64)),
    ("unknown arrived", |o| (o.publish_errors > 0).then_some(o.unknown_arrived as f64)),
    ("unknown missing", |o| (o.publish_errors > 0).then_some(o.unknown_missing as f64)),
    ("publish errors", |o| Some(o.publish_errors as f64)),
    ("publish pushed back", |o| (o.publish_busy > 0).then_some(o.publish_busy as f64)),
    ("already known", |o| (o.already_known > 0).then_some(o.already_known as f64)),
    ("bad signatures", |o| Some(o.signatures_bad as f64)),
    ("good signatures", |o| Some(o.signatures_good as f64)),
    ("misrouted or unparsable", |o| Some((o.misrouted + o.unparsable) as f64)),
    ("gave up draining", |o| o.gave_up.then_some(1.0)),
    ("fault: command ms", |o| o.fault.as_ref().map(|f| f.took_ms)),
    ("fault: longest silence ms", |o| o.fault.as_ref().map(|f| f.longest_silence_ms)),
    ("receiver connections", |o| Some(o.receiver_connections as f64)),
    ("wall s", |o| Some(o.wall_s)),
    ("machine busy %", |o| {
        let m = &o.machine;
        Some(100.0 * m.busy_s / (m.busy_s + m.idle_s + m.iowait_s).max(0.01))
    }),
    ("others' share of busy %", |o| Some(100.0 * o.machine.other_s / o.machine.busy_s.max(0.01))),
    ("steal s", |o| Some(o.machine.steal_s)),
];

fn p50(s: Option<&Summary>) -> Option<f64> {
    s.map(|s| s.p50_ms)
}

fn p99(s: Option<&Summary>) -> Option<f64> {
    s.map(|s| s.p99_ms)
}

pub(crate) fn report(files: &[PathBuf], peer: Option<&Path>) -> Result<()> {
    let peer = peer.map(Peer::read).transpose()?;
    if let Some(peer) = &peer {
        println!("beside: {}, {}", peer.system, peer.about);
    }
    for ((label, target), runs) in read(files)? {
        println!("\n## {label} / {target}: runs {}\n", runs.len());
        println!("{:<34} {:>11} {:>11} {:>11}", "", "min", "median", "max");
        let lines = aggregate(&runs);
        for Line { name, min, median, max } in &lines {
            println!("{name:<34} {:>11} {:>11} {:>11}", short(*min), short(*median), short(*max));
        }
        // The harness's own ceiling is nobody's result.
        if let Some(peer) = peer.as_ref().filter(|_| target != "null") {
            beside(peer, &label, &target, &lines);
        }
    }
    Ok(())
}

fn read(files: &[PathBuf]) -> Result<BTreeMap<(String, String), Vec<Outcome>>> {
    let mut groups: BTreeMap<_, Vec<Outcome>> = BTreeMap::new();
    for file in files {
        let name = || file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(name)?;
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            let outcome: Outcome = serde_json::from_str(line).with_context(name)?;
            groups.entry((outcome.label.clone(), outcome.target.clone())).or_default().push(outcome);
        }
    }
    Ok(groups)
}

/// One figure over the runs of a label.
#[derive(Debug, PartialEq)]
struct Line {
    name: String,
    min: f64,
    median: f64,
    max: f64,
}

fn aggregate(runs: &[Outcome]) -> Vec<Line> {
    let mut values: Vec<(String, Vec<f64>)> = vec![];
    for (name, get) in COLUMNS {
        values.push(((*name).to_owned(), runs.iter().filter_map(get).collect()));
    }
    let each = |title: &str, get: fn(&Outcome) -> BTreeMap<String, f64>| {
        let mut by_name: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, value) in runs.iter().flat_map(get) {
            by_name.entry(format!("{title}: {name}")).or_default().push(value);
        }
        by_name
    };
    values.extend(each("CPU s/1000 deliveries", |o| o.cpu_s_per_1k.clone()));
    values.extend(each("idle MiB", |o| memory(o, |u| u.idle_mem_mib)));
    values.extend(each("peak MiB", |o| memory(o, |u| u.peak_mem_mib)));
    let line = |(name, values)| spread(values).map(|(min, median, max)| Line { name, min, median, max });
    values.into_iter().filter_map(line).collect()
}

/// Each group's memory, and the sum of all but the harness.
fn memory(o: &Outcome, get: fn(&Usage) -> f64) -> BTreeMap<String, f64> {
    let mut all: BTreeMap<String, f64> = o.usage.iter().map(|(name, u)| (name.clone(), get(u))).collect();
    let total = all.iter().filter(|(name, _)| *name != HARNESS).map(|(_, mib)| mib).sum();
    all.insert("total".into(), total);
    all
}

/// Our medians beside the peer's figures, for each set-up in which it ran this scenario.
fn beside(peer: &Peer, label: &str, target: &str, lines: &[Line]) {
    for row in peer.rows(label) {
        println!("\nbeside {}, {}:", peer.system, row.setup);
        println!("{:<34} {target:>11} {:>11} {:>11}", "", "peer", "ratio");
        for line in lines {
            let Some(figure) = row.figures.get(&line.name) else { continue };
            let theirs = match figure {
                Figure::Median(v) => short(*v),
                Figure::Range(min, max) => format!("{}-{}", short(*min), short(*max)),
            };
            let ratio = figure.ratio(line.median).map_or("-".into(), |r| format!("x {}", short(r)));
            println!("{:<34} {:>11} {theirs:>11} {ratio:>11}", line.name, short(line.median));
        }
    }
}

fn short(v: f64) -> String {
    match v.abs() {
        0.0 => "0".into(),
        a if a < 10.0 => format!("{v:.3}"),
        a if a < 1000.0 => format!("{v:.1}"),
        _ => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(delivered_per_s: f64) -> Outcome {
        let usage = |mib| Usage { peak_mem_mib: mib, ..Usage::default() };
        let mut o = Outcome { delivered_per_s, deliveries: 1, ..Outcome::default() };
        let groups = [("server".into(), usage(5.0)), (HARNESS.into(), usage(7.0))];
        o.charge(groups.into(), crate::proc::Machine::default());
        o
    }

    #[test]
    fn lines_are_minimum_median_and_maximum() {
        let lines = aggregate(&[outcome(3.0), outcome(1.0), outcome(2.0)]);
        let line = |name: &str, min, median, max| Line { name: name.into(), min, median, max };
        assert!(lines.contains(&line("delivered/s", 1.0, 2.0, 3.0)), "{lines:?}");
        assert!(lines.contains(&line("peak MiB: total", 5.0, 5.0, 5.0)), "{lines:?}");
        assert!(lines.iter().all(|l| l.name != "e2e slow apps p50 ms"), "nothing to say, no line");
    }

    #[test]
    fn the_peers_figures_go_by_the_names_of_lines() {
        let peer = Peer::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("peer.json")).unwrap();
        let lines = aggregate(&[outcome(1.0)]);
        for name in peer.names() {
            let known = COLUMNS.iter().any(|(column, _)| *column == name);
            assert!(known || lines.iter().any(|l| l.name == name), "{name}");
        }
    }
}
