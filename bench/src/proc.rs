//! CPU time and memory of the processes under test, from /proc.
//!
//! A group is a process and all its descendants (`PostgreSQL`: the postmaster and its backends).
//! CPU is user + system of every live member plus what each has collected from children that
//! ended, so a backend that exits within the run still counts. Memory is RSS for a group of one
//! process and the sum of PSS for a larger one (shared buffers would otherwise count once per
//! backend).

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The group that the harness itself is.
pub(crate) const HARNESS: &str = "harness";

/// Clock ticks a second in what /proc shows: Linux fixes it at 100 on every architecture of today,
/// whatever its kernel's own timer does.
const TICKS_PER_S: f64 = 100.0;

#[derive(Clone, Debug)]
pub(crate) struct Group {
    name: String,
    pid: Pid,
}

#[derive(Clone, Debug)]
enum Pid {
    Fixed(u32),
    /// A file that holds the pid, read again each time (the process may be restarted).
    File(String),
}

impl Group {
    /// `name=PID` or `name=@PIDFILE`.
    pub(crate) fn parse(spec: &str) -> Result<Self> {
        let Some((name, pid)) = spec.split_once('=') else { bail!("{spec}: want NAME=PID or NAME=@PIDFILE") };
        let pid = match pid.strip_prefix('@') {
            Some(file) => Pid::File(file.to_owned()),
            None => Pid::Fixed(pid.parse().context("pid")?),
        };
        Ok(Self { name: name.to_owned(), pid })
    }

    fn own() -> Self {
        Self { name: HARNESS.to_owned(), pid: Pid::Fixed(std::process::id()) }
    }

    fn pid(&self) -> Option<u32> {
        match &self.pid {
            Pid::Fixed(pid) => Some(*pid),
            Pid::File(file) => fs::read_to_string(file).ok()?.split_whitespace().next()?.parse().ok(),
        }
    }
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_s: f64,
    pub(crate) idle_mem_mib: f64,
    pub(crate) peak_mem_mib: f64,
    pub(crate) processes: usize,
}

struct Stat {
    ppid: u32,
    ticks: u64,
}

fn read_stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &text[text.rfind(')')? + 2..];
    let field: Vec<&str> = rest.split(' ').collect();
    // proc(5), 1-based: 4 ppid, 14 utime, 15 stime, 16 cutime, 17 cstime; `rest` starts at 3.
    let n = |i: usize| field.get(i - 3)?.parse::<u64>().ok();
    Some(Stat { ppid: u32::try_from(n(4)?).ok()?, ticks: n(14)? + n(15)? + n(16)? + n(17)? })
}

fn members(root: u32, all: &HashMap<u32, Stat>) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, stat) in all {
        children.entry(stat.ppid).or_default().push(*pid);
    }
    let mut out = vec![];
    let mut todo = vec![root];
    while let Some(pid) = todo.pop() {
        if all.contains_key(&pid) {
            out.push(pid);
            todo.extend(children.get(&pid).into_iter().flatten());
        }
    }
    out
}

fn snapshot() -> HashMap<u32, Stat> {
    let Ok(dir) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    dir.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, read_stat(pid)?)))
        .collect()
}

fn kib(path: &str, key: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn memory_mib(pids: &[u32]) -> f64 {
    let kib: f64 = match pids {
        [one] => kib(&format!("/proc/{one}/status"), "VmRSS:").unwrap_or(0.0),
        many => many.iter().filter_map(|p| kib(&format!("/proc/{p}/smaps_rollup"), "Pss:")).sum(),
    };
    kib / 1024.0
}

/// The whole machine over the window, in CPU seconds. `other_s` is what neither the watched
/// groups nor the harness used (kernel threads included): high means that the run shared the
/// machine with something else and should be repeated.
#[expect(clippy::struct_field_names, reason = "the unit is part of the name in the results")]
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) busy_s: f64,
    pub(crate) idle_s: f64,
    pub(crate) iowait_s: f64,
    pub(crate) steal_s: f64,
    pub(crate) other_s: f64,
}

/// user nice system idle iowait irq softirq steal, in ticks.
fn machine_ticks() -> [u64; 8] {
    let mut out = [0; 8];
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    for (slot, f) in out.iter_mut().zip(fields) {
        *slot = f.parse().unwrap_or(0);
    }
    out
}

/// Watches groups from `start` to `stop`.
pub(crate) struct Watch {
    groups: Vec<Group>,
    cpu0: Vec<u64>,
    machine0: [u64; 8],
    usage: Arc<Mutex<Vec<Usage>>>,
    done: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    pub(crate) began: Instant,
}

fn ticks(group: &Group, all: &HashMap<u32, Stat>) -> (u64, Vec<u32>) {
    let Some(root) = group.pid() else {
        return (0, vec![]);
    };
    // A group that holds the harness as a descendant is not expected; the harness's own group
    // must not count the helpers it starts.
    let pids = if group.name == HARNESS { vec![root] } else { members(root, all) };
    (pids.iter().filter_map(|p| Some(all.get(p)?.ticks)).sum(), pids)
}

impl Watch {
    /// Watches the harness and `groups`.
    pub(crate) fn start(mut groups: Vec<Group>) -> Self {
        groups.push(Group::own());
        let all = snapshot();
        let (mut cpu0, mut usage) = (vec![], vec![]);
        for group in &groups {
            let (spent, pids) = ticks(group, &all);
            cpu0.push(spent);
            let mib = memory_mib(&pids);
            usage.push(Usage { cpu_s: 0.0, idle_mem_mib: mib, peak_mem_mib: mib, processes: pids.len() });
        }
        let usage = Arc::new(Mutex::new(usage));
        let done = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (groups, usage, done) = (groups.clone(), usage.clone(), done.clone());
            move || sample(&groups, &usage, &done)
        });
        Self {
            groups,
            cpu0,
            machine0: machine_ticks(),
            usage,
            done,
            thread: Some(thread),
            began: Instant::now(),
        }
    }

    pub(crate) fn stop(mut self) -> (BTreeMap<String, Usage>, Machine) {
        self.done.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let all = snapshot();
        let machine1 = machine_ticks();
        let mut usage = locked(&self.usage);
        let mut out = BTreeMap::new();
        for ((group, usage), cpu0) in self.groups.iter().zip(usage.iter_mut()).zip(&self.cpu0) {
            let (spent, pids) = ticks(group, &all);
            note(usage, &pids);
            usage.cpu_s = spent.saturating_sub(*cpu0) as f64 / TICKS_PER_S;
            out.insert(group.name.clone(), usage.clone());
        }
        let spent = |i: usize| machine1[i].saturating_sub(self.machine0[i]) as f64 / TICKS_PER_S;
        let busy_s = [0, 1, 2, 5, 6].into_iter().map(spent).sum::<f64>();
        let known: f64 = out.values().map(|u| u.cpu_s).sum();
        let machine = Machine {
            busy_s,
            idle_s: spent(3),
            iowait_s: spent(4),
            steal_s: spent(7),
            other_s: (busy_s - known).max(0.0),
        };
        (out, machine)
    }
}

/// Notes memory until `done`: cheap groups each half second; PSS walks page tables, so larger groups
/// each 4 s.
fn sample(groups: &[Group], usage: &Mutex<Vec<Usage>>, done: &AtomicBool) {
    for round in 1u64.. {
        std::thread::sleep(Duration::from_millis(500));
        if done.load(Relaxed) {
            return;
        }
        let all = snapshot();
        for (i, group) in groups.iter().enumerate() {
            let (_, pids) = ticks(group, &all);
            if pids.len() == 1 || (pids.len() > 1 && round.is_multiple_of(8)) {
                note(&mut locked(usage)[i], &pids);
            }
        }
    }
}

fn locked(usage: &Mutex<Vec<Usage>>) -> MutexGuard<'_, Vec<Usage>> {
    usage.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(usage: &mut Usage, pids: &[u32]) {
    usage.peak_mem_mib = usage.peak_mem_mib.max(memory_mib(pids));
    usage.processes = usage.processes.max(pids.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_its_own_cpu_and_memory() {
        let watch = Watch::start(vec![]);
        let until = Instant::now() + Duration::from_millis(300);
        let mut x = 0u64;
        while Instant::now() < until {
            x = std::hint::black_box(x.wrapping_add(1));
        }
        let (usage, machine) = watch.stop();
        let usage = &usage[HARNESS];
        assert!(machine.busy_s > 0.1, "{machine:?}");
        assert!(usage.cpu_s > 0.1, "{usage:?}");
        assert!(usage.peak_mem_mib > 0.5, "{usage:?}");
    }

    #[test]
    fn group_specs() {
        assert!(Group::parse("a=12").is_ok());
        assert!(Group::parse("a=@x.pid").is_ok());
        assert!(Group::parse("a").is_err());
    }
}
