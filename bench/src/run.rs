//! One measured run: set up, warm up, publish, drain, account.

use std::{
    ops::Range,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use tokio::{net::TcpListener, process::Command, task::JoinHandle, time::sleep};

use crate::{
    account::{Fault, Outcome, longest_silence_ms},
    client::HttpClient,
    proc::{Group, Watch},
    publisher::{OnError, Pace, Plan, Publisher},
    receiver::{Behaviour, Load, Receiver},
    stats::ms,
    target::{self, Access, Target},
};

#[derive(clap::Args, Debug, Clone)]
pub(crate) struct RunArgs {
    /// The system under test: postrider, svix, null
    #[arg(long)]
    pub(crate) target: String,
    #[arg(long, default_value = "http://127.0.0.1:8071")]
    url: String,
    /// File with the bearer token
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Name of the scenario in the results; runs of one label are aggregated by `report`
    #[arg(long)]
    pub(crate) label: String,
    #[arg(long, default_value_t = 1)]
    pub(crate) apps: usize,
    /// Endpoints per application (fan-out)
    #[arg(long, default_value_t = 1)]
    pub(crate) endpoints: usize,
    #[arg(long, default_value_t = 20_000)]
    pub(crate) messages: usize,
    /// Messages published and drained before the measurement
    #[arg(long, default_value_t = 500)]
    warmup: usize,
    /// Publishes in flight (closed loop)
    #[arg(long, default_value_t = 64)]
    pub(crate) concurrency: usize,
    /// Publishes per second (open loop); overrides --concurrency
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// JSON payload size in bytes
    #[arg(long, default_value_t = 1024)]
    pub(crate) payload: usize,
    /// Process group to watch, NAME=PID or NAME=@PIDFILE; repeatable
    #[arg(long = "proc", value_parser = Group::parse)]
    procs: Vec<Group>,
    /// Append the result as one JSON line
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Receiver waits this long before each reply
    #[arg(long, default_value_t = 0)]
    receiver_delay_ms: u64,
    /// The first N applications' endpoints wait --slow-ms instead (noisy neighbour)
    #[arg(long, default_value_t = 0)]
    pub(crate) slow_apps: usize,
    #[arg(long, default_value_t = 0)]
    slow_ms: u64,
    /// The first N endpoints of each application never answer; they are not accounted for
    #[arg(long, default_value_t = 0)]
    dead_endpoints: usize,
    /// The next N answer a byte at a time, without end; they are not accounted for
    #[arg(long, default_value_t = 0)]
    drip_endpoints: usize,
    /// Answer 500 to this per cent of first attempts
    #[arg(long, default_value_t = 0)]
    fail_first_pct: u64,
    /// Check the signature of each Nth message (0: none)
    #[arg(long, default_value_t = 100)]
    verify_every: usize,
    /// Give up draining after this long without an arrival
    #[arg(long, default_value_t = 30)]
    quiet_s: u64,
    /// Give up draining after this long in all
    #[arg(long, default_value_t = 400)]
    drain_s: u64,
    /// Keep listening this long after all arrived, for late duplicates
    #[arg(long, default_value_t = 2_000)]
    settle_ms: u64,
    #[arg(long, value_enum, default_value_t = OnError::Skip)]
    on_error: OnError,
    /// Run --fault-cmd once this many measured messages are accepted
    #[arg(long, requires = "fault_cmd")]
    fault_after: Option<u64>,
    /// What to run (sh -c)
    #[arg(long, requires = "fault_after")]
    fault_cmd: Option<String>,
}

impl RunArgs {
    fn load(&self) -> Load {
        Load { messages: self.warmup + self.messages, apps: self.apps, endpoints: self.endpoints }
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour {
            delay: Duration::from_millis(self.receiver_delay_ms),
            slow_apps: self.slow_apps,
            slow_delay: Duration::from_millis(self.slow_ms),
            dead_endpoints: self.dead_endpoints,
            drip_endpoints: self.drip_endpoints,
            fail_first_pct: self.fail_first_pct,
        }
    }

    /// The endpoints of each application that are to get everything.
    pub(crate) fn sound_endpoints(&self) -> Range<usize> {
        self.dead_endpoints + self.drip_endpoints..self.endpoints
    }

    fn pace(&self) -> Pace {
        match self.rate {
            Some(per_second) => Pace::Open { per_second },
            None => Pace::Closed { concurrency: self.concurrency },
        }
    }

    fn access(&self) -> Result<Access> {
        let token = match &self.token_file {
            Some(file) => std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
            None => String::new(),
        };
        Ok(Access { url: self.url.clone(), token: token.trim().to_owned() })
    }
}

pub(crate) async fn run(args: RunArgs) -> Result<Outcome> {
    let unix_time = unix_time()?;
    let bench = Bench::set_up(args, unix_time).await?;
    bench.warm_up().await?;
    let mut outcome = bench.measure().await?;
    outcome.unix_time = unix_time;
    Ok(outcome)
}

#[expect(clippy::disallowed_methods, reason = "the one place that stamps a result")]
fn unix_time() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// Both ends, with the applications and endpoints made.
struct Bench {
    args: RunArgs,
    receiver: Arc<Receiver>,
    publisher: Arc<Publisher>,
}

impl Bench {
    async fn set_up(args: RunArgs, unix_time: u64) -> Result<Self> {
        let epoch = Instant::now();
        let receiver = Receiver::new(epoch, args.load(), args.behaviour(), args.verify_every);
        let listener = TcpListener::bind(&args.listen).await?;
        let hooks = format!("http://{}/hook", listener.local_addr()?);
        tokio::spawn(receiver.clone().serve(listener));

        let target = target::build(&args.target, &args.access()?)?;
        let http = HttpClient::new(Duration::from_secs(30));
        target::wait_ready(&*target, &http, Duration::from_secs(30)).await?;
        let run = plain(&format!("{}-{unix_time}-{}", args.label, std::process::id()));
        let (apps, secrets) = register(&*target, &http, &run, &hooks, args.load()).await?;
        receiver.set_secrets(secrets);

        let plan = Plan {
            target,
            http,
            run,
            apps,
            messages: args.load().messages,
            payload: args.payload,
            on_error: args.on_error,
            give_up: Duration::from_mins(1),
        };
        let publisher = Publisher::new(epoch, plan);
        Ok(Self { args, receiver, publisher })
    }

    async fn warm_up(&self) -> Result<()> {
        let warmup = 0..self.args.warmup;
        if warmup.is_empty() {
            return Ok(());
        }
        self.publisher.publish(warmup.clone(), Pace::Closed { concurrency: 8 }).await?;
        if self.publisher.counts.accepted.load(Relaxed) == 0 {
            let why = self.publisher.first_failure.get().map_or("", String::as_str);
            bail!("no publish was accepted: {why}");
        }
        self.drain(warmup).await;
        sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    async fn measure(&self) -> Result<Outcome> {
        let measured = self.args.warmup..self.args.load().messages;
        let watch = Watch::start(self.args.procs.clone());
        let duplicates = self.receiver.counts.duplicates.load(Relaxed);
        let fault = self.arm();
        if let Err(e) = self.publisher.publish(measured.clone(), self.args.pace()).await {
            eprintln!("publishing broke off: {e:#}");
        }
        let fault = match fault {
            Some((at, _)) if self.publisher.counts.accepted.load(Relaxed) < at => {
                bail!("too few messages were accepted for the fault")
            }
            Some((_, task)) => Some(task.await??),
            None => None,
        };
        let arrived = self.drain(measured.clone()).await;
        sleep(Duration::from_millis(self.args.settle_ms)).await;
        let wall_s = watch.began.elapsed().as_secs_f64();
        let (usage, machine) = watch.stop();

        let mut outcome = Outcome::new(&self.args, &self.publisher, &self.receiver, measured.clone());
        outcome.duplicates -= duplicates;
        outcome.gave_up = !arrived;
        outcome.wall_s = wall_s;
        outcome.charge(usage, machine);
        outcome.fault = fault.map(|(began, took)| Fault {
            at_accepted: self.args.fault_after.unwrap_or(0),
            began_ms: ms(began),
            took_ms: ms(took),
            longest_silence_ms: longest_silence_ms(&self.receiver, measured, &self.args.sound_endpoints()),
        });
        Ok(outcome)
    }

    /// Starts waiting for the number of accepted messages at which to run the fault, if there is one.
    fn arm(&self) -> Option<(u64, Injection)> {
        let (after, command) = self.args.fault_after.zip(self.args.fault_cmd.clone())?;
        let at = self.publisher.counts.accepted.load(Relaxed) + after;
        Some((at, tokio::spawn(inject(self.publisher.clone(), at, command))))
    }

    /// Waits until each accepted message of the range has arrived everywhere; false: gave up.
    async fn drain(&self, range: Range<usize>) -> bool {
        let start = Instant::now();
        let mut last = (0, start);
        loop {
            if range.clone().all(|seq| self.settled(seq)) {
                return true;
            }
            let seen = self.receiver.counts.requests.load(Relaxed);
            if seen != last.0 {
                last = (seen, Instant::now());
            }
            if last.1.elapsed() > Duration::from_secs(self.args.quiet_s)
                || start.elapsed() > Duration::from_secs(self.args.drain_s)
            {
                return false;
            }
            sleep(Duration::from_millis(25)).await;
        }
    }

    fn settled(&self, seq: usize) -> bool {
        self.publisher.answered(seq).is_none()
            || self.args.sound_endpoints().all(|e| self.receiver.first_arrival(seq, e).is_some())
    }
}

/// Makes the applications and their endpoints; the answer is the ids and the signing secrets.
async fn register(
    target: &dyn Target,
    http: &HttpClient,
    run: &str,
    hooks: &str,
    load: Load,
) -> Result<(Vec<String>, Vec<Option<String>>)> {
    let (mut apps, mut secrets) = (vec![], vec![]);
    for a in 0..load.apps {
        let app = target.create_app(http, &format!("{run}-{a}")).await?;
        for e in 0..load.endpoints {
            secrets.push(target.create_endpoint(http, &app, &format!("{hooks}/{a}/{e}")).await?.secret);
        }
        apps.push(app);
    }
    Ok((apps, secrets))
}

/// A name that any target should take: letters, digits, '-', '.', '_'.
fn plain(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric() && !"-._".contains(c), ".")
}

/// When a fault began and how long it took, in nanoseconds.
type Injection = JoinHandle<Result<(i64, i64)>>;

/// Runs `command` once `after` messages are accepted.
async fn inject(publisher: Arc<Publisher>, after: u64, command: String) -> Result<(i64, i64)> {
    while publisher.counts.accepted.load(Relaxed) < after {
        sleep(Duration::from_millis(1)).await;
    }
    let began = publisher.now();
    let status = Command::new("sh").arg("-c").arg(&command).status().await?;
    if !status.success() {
        publisher.stop();
        bail!("the fault command ended with {status}");
    }
    Ok((began, publisher.now() - began))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        assert_eq!(plain("redis/sat 1x1-17_b"), "redis.sat.1x1-17_b");
    }
}
