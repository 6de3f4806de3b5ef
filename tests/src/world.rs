//! The runner as a child process: built once, on a free port, with a data file of its own.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;

use crate::{client::Client, poll, tenant::Tenant};

/// The operator's key of every runner here.
pub const OPERATOR: &str = "prk_suite00000000000_0123456789ABCDEFGHIJKLMNOPQRSTUV";
/// A debug build on a busy machine starts slowly.
const START: Duration = Duration::from_secs(20);

/// How a runner is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether it may deliver to this machine, where every receiver of the suite is.
    pub private_targets: bool,
    /// Whether it is given [`OPERATOR`]; else it makes a key itself.
    pub operator_key: bool,
    /// More arguments.
    pub args: Vec<String>,
    /// More of its environment.
    pub env: Vec<(String, String)>,
    /// What it logs.
    pub log: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self { private_targets: true, operator_key: true, args: Vec::new(), env: Vec::new(), log: "info" }
    }
}

/// A runner.
#[derive(Debug)]
pub struct World {
    dir: TempDir,
    port: u16,
    options: Options,
    process: Mutex<Option<Process>>,
}

#[derive(Debug)]
struct Process {
    runner: Child,
    watchdog: Child,
}

impl World {
    /// The one that tests share, each with tenants of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<World> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Options::default()))
    }

    /// A new one.
    pub fn start(options: Options) -> Self {
        let dir = tempfile::Builder::new().prefix("postrider-").tempdir().expect("a directory for its data");
        let world = Self { dir, port: free_port(), options, process: Mutex::new(None) };
        world.restart();
        world
    }

    /// Where it listens.
    pub fn base(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A client without a key.
    pub fn client(&self) -> Client {
        Client::new(self.base())
    }

    /// A client with the operator's key.
    pub fn operator(&self) -> Client {
        self.client().bearer(OPERATOR)
    }

    /// A tenant that no other test knows; `label` is for people.
    pub async fn tenant(&self, label: &str) -> Tenant {
        Tenant::make(self, label).await
    }

    /// Its data file.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data.db")
    }

    /// Where its files lie.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it printed since it was first started.
    pub fn printed(&self) -> String {
        read(&self.dir.path().join("stdout"))
    }

    /// What it logged since it was first started.
    pub fn log(&self) -> String {
        read(&self.dir.path().join("stderr"))
    }

    /// Bytes of memory that it has at the moment, by Linux's account.
    pub fn resident(&self) -> u64 {
        let id = self.process().as_ref().expect("it runs").runner.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("Linux tells of it");
        let kilobytes =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        1024 * kilobytes.and_then(|number| number.parse::<u64>().ok()).expect("a number of kB")
    }

    /// SIGKILL: it gets no chance to finish anything.
    pub fn kill(&self) {
        if let Some(mut process) = self.process().take() {
            process.retire();
            process.runner.kill().expect("the runner can be killed");
            process.runner.wait().expect("the runner ends");
        }
    }

    /// SIGTERM: it is to finish what is under way.
    pub fn terminate(&self) -> ExitStatus {
        let mut process = self.process().take().expect("it runs");
        signal("TERM", &process.runner);
        let ended =
            poll::until_blocking(START, "the runner ends by itself", || process.runner.try_wait().unwrap());
        process.retire();
        ended.unwrap_or_else(|error| {
            process.runner.kill().ok();
            panic!("{error}\n{}", self.log())
        })
    }

    /// Starts it again on the same data, once it is stopped.
    pub fn restart(&self) {
        let mut slot = self.process();
        assert!(slot.is_none(), "it runs already");
        let mut process = self.spawn();
        let ready = poll::until_blocking(START, "the runner answers", || match process.runner.try_wait() {
            Ok(Some(status)) => Some(Err(format!("the runner ended at once: {status}"))),
            _ => healthy(self.address()).then_some(Ok(())),
        });
        if let Err(error) = ready.and_then(|result| result) {
            process.runner.kill().ok();
            drop(slot);
            panic!("{error}\n{}\n{}", self.printed(), self.log());
        }
        *slot = Some(process);
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self) -> Process {
        let output = |name: &str| {
            let path = self.dir.path().join(name);
            Stdio::from(
                File::options().append(true).create(true).open(path).expect("a file for what it says"),
            )
        };
        let mut command = Command::new(runner());
        command
            .arg(format!("--port={}", self.port))
            .arg("--data")
            .arg(self.data())
            .arg(format!("--allow-private-targets={}", self.options.private_targets))
            .args(&self.options.args)
            .env("RUST_LOG", self.options.log)
            .env_remove("POSTRIDER_OPERATOR_KEY")
            // Whoever sets a proxy for his shell does not mean deliveries: were it used, none would arrive.
            .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:9")))
            .envs(self.options.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"));
        if self.options.operator_key {
            command.env("POSTRIDER_OPERATOR_KEY", OPERATOR);
        }
        let runner = command.spawn().expect("the runner can be started");
        let watchdog = watchdog(&runner, self.dir.path());
        Process { runner, watchdog }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    /// Takes the watchdog away first: a process id may be another's once the runner is gone.
    fn retire(&mut self) {
        self.watchdog.kill().ok();
        self.watchdog.wait().ok();
    }
}

/// Ends the runner and removes its files when this process ends, however it does: its standard input is then
/// closed. A test binary drops no statics.
fn watchdog(runner: &Child, dir: &Path) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", r#"cat >/dev/null; kill -KILL "$1"; rm -rf "$2""#, "watchdog"]);
    command.arg(runner.id().to_string()).arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a watchdog can be started")
}

fn signal(name: &str, child: &Child) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(sent.expect("kill can be started").success());
}

/// Whether the health check answers 200.
fn healthy(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A free port below those that the system gives to outgoing connections, so that a runner which is down for a
/// moment finds its port free when it comes back.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap_or_default();
    (0..10_000)
        .map(|_| 20_000 + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}

/// The runner's executable, which cargo brings up to date once for each test binary.
pub fn runner() -> &'static Path {
    static RUNNER: OnceLock<Option<PathBuf>> = OnceLock::new();
    RUNNER.get_or_init(build).as_deref().expect("the runner builds")
}

fn build() -> Option<PathBuf> {
    // target/<profile>/deps/it-<hash>
    let own = std::env::current_exe().expect("this binary has a path");
    let profile = own.ancestors().nth(2).expect("it lies in deps");
    let target = profile.parent().expect("it lies in the target directory");
    let mut cargo = Command::new(env!("CARGO"));
    // The whole workspace is selected as `make test` does, for features are the union of what is selected.
    cargo.args(["build", "--quiet", "--workspace", "--bin", "postrider", "--target-dir"]).arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(repository()).status().expect("cargo can be started");
    status.success().then(|| profile.join("postrider"))
}

/// The top of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the suite lies in the repository")
}
