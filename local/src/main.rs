//! `postrider`: the whole bundle as one process on one machine.
//!
//! It reads `template.yaml` for its routes, batch sizes and schedules, and drives the very functions that are
//! deployed to Lambda, with the very events that Lambda would send them.

mod args;
mod engine;
mod first_run;
mod http;
mod inspect;
mod metrics;
mod pump;
mod schedule;
mod template;

use std::{num::NonZeroUsize, process::ExitCode, sync::Arc};

use clap::Parser;
use postrider_outbound::Outbound;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{args::Args, engine::Running, inspect::Inspector, template::Template};

/// What one thread allocates, the writing thread frees. At a fan-out of 10, glibc's allocator took a fifth more CPU
/// time than this one; mimalloc as little, but 85 MiB for 65.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Deliveries under way to one host name at once.
const PER_HOST: usize = 256;

/// Why the runner did not start, or stopped.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Template(#[from] template::BadTemplate),
    #[error("{}", .0.fault().unwrap_or("something went wrong"))]
    Engine(postrider::error::Error),
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    #[error("{0}")]
    Usage(String),
}

impl From<postrider::error::Error> for Failed {
    fn from(error: postrider::error::Error) -> Self {
        if error.fault().is_some() { Self::Engine(error) } else { Self::Usage(error.to_string()) }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let traces = postrider_lambda::start_logs("warn", std::io::stderr);
    let ended = run(Args::parse()).await;
    traces.flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("postrider: {failed}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Failed> {
    let template = match &args.template {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            Template::parse(&text.map_err(|error| Failed::Io(path.display().to_string(), error))?)?
        }
        None => Template::parse(include_str!("../../template.yaml"))?,
    };
    let address = args.address();
    let listener = TcpListener::bind(&*address).await.map_err(|error| Failed::Io(address, error))?;
    let here = listener.local_addr().map_err(|error| Failed::Io("the address".into(), error))?;
    let allow_private = args.allow_private_targets.unwrap_or_else(|| here.ip().is_loopback());

    let Running { ports, fast, slow, housekeeping, is_new } =
        engine::start(&args, &template, allow_private).await?;
    let outbound = postrider_outbound::Settings {
        allow_private,
        local_names: args.resolve.clone(),
        name_servers: args.name_server.clone(),
        authorities: args.trust.clone().unwrap_or_default(),
        // Where private addresses may be reached, many receivers are one machine's own.
        per_host: args.max_per_host.or_else(|| NonZeroUsize::new(PER_HOST).filter(|_| !allow_private)),
    };
    let post = Arc::new(Outbound::new(outbound)?);
    first_run::greet(&args, &ports, here, allow_private, is_new).await?;

    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let inspector = Arc::new(Inspector::default());
    let metrics = metrics::Metrics::start().map_err(|error| Failed::Usage(error.to_string()))?;
    tasks.spawn(metrics.upkeep(stop.clone()));
    let server = http::Server {
        routes: template.routes,
        ports: ports.clone(),
        post: post.clone(),
        inspector,
        metrics,
    };
    tasks.spawn(http::serve(listener, server, stop.clone()));
    for (source, queue, room) in [(fast, template.fast, pump::FAST), (slow, template.slow, pump::SLOW)] {
        let (ports, post, stop) = (ports.clone(), post.clone(), stop.clone());
        tasks.spawn(pump::run(source, queue.batch_size, room, ports, post, stop));
    }
    tasks.spawn(schedule::run(template.schedule, ports, housekeeping, stop.clone()));
    tasks.close();
    told_to_stop().await;
    eprintln!("postrider: stopping: no new work; what is under way is finished");
    stop.cancel();
    tasks.wait().await;
    Ok(())
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        // Without a handler for one, the other still stops us in good order.
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
