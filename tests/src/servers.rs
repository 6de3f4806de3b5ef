//! What stands in for AWS: `DynamoDB` Local, and ministack for SQS and KMS, started once for the whole binary.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use tempfile::TempDir;

use crate::{
    poll,
    world::{free_port, repository},
};

/// Java on a busy machine starts slowly.
const START: Duration = Duration::from_secs(90);
/// The service that [`Servers::dynamodb`] stands in for, as SDKs call it; ministack is all others.
const DYNAMODB: &str = "DynamoDB";

/// The servers, which end with this process.
#[derive(Debug)]
pub struct Servers {
    dynamodb: Server,
    ministack: Server,
}

impl Servers {
    /// The ones that all tests share, each with names of its own on them.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Servers, String>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Where `DynamoDB` is.
    pub fn dynamodb(&self) -> String {
        self.dynamodb.url()
    }

    /// Where all other services are.
    pub fn others(&self) -> String {
        self.ministack.url()
    }

    /// AWS's configuration that leads to them, whatever the environment says.
    pub fn config(&self) -> SdkConfig {
        Self::leading_to(Endpoints { dynamodb: self.dynamodb(), others: self.others() })
    }

    /// The same, with one endpoint for all services.
    pub(crate) fn config_at(url: &str) -> SdkConfig {
        Self::leading_to(Endpoints { dynamodb: url.to_owned(), others: url.to_owned() })
    }

    fn leading_to(endpoints: Endpoints) -> SdkConfig {
        let credentials = Credentials::new("test", "test", None, None, "tests");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .service_config(endpoints)
            .build()
    }

    /// The environment of a process that is to find them.
    pub fn environment(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.url()),
            ("AWS_ENDPOINT_URL_SQS", self.ministack.url()),
            ("AWS_ENDPOINT_URL_KMS", self.ministack.url()),
            // AWS's client, unlike deliveries, goes by whatever proxy the environment names.
            ("NO_PROXY", "127.0.0.1".to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn start() -> Result<Self, String> {
        let installed = (path("POSTRIDER_DYNAMODB_LOCAL"), path("POSTRIDER_MINISTACK"));
        let (Some(jar), Some(ministack)) = installed else {
            return Err(
                "POSTRIDER_DYNAMODB_LOCAL and POSTRIDER_MINISTACK are not set: run `make test`".into()
            );
        };
        let (dynamodb_port, ministack_port) = (free_port(), free_port());
        let mut java = Command::new(repository().join("tools/dynamodb-local"));
        java.args(["-port", &dynamodb_port.to_string()]).env("POSTRIDER_DYNAMODB_LOCAL", jar);
        let mut python = Command::new(ministack);
        python.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", ministack_port.to_string());
        // Both at once: each takes seconds.
        let mut dynamodb = Server::spawn("DynamoDB Local", java, dynamodb_port)?;
        let mut ministack = Server::spawn("ministack", python, ministack_port)?;
        dynamodb.wait_until_it_answers()?;
        ministack.wait_until_it_answers()?;
        Ok(Self { dynamodb, ministack })
    }
}

fn path(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}

/// An endpoint for each service: a configuration has but one for all of them.
#[derive(Debug)]
struct Endpoints {
    dynamodb: String,
    others: String,
}

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let url = if key.service_id() == DYNAMODB { &self.dynamodb } else { &self.others };
        (key.profile() == "endpoint_url").then(|| url.clone())
    }
}

#[derive(Debug)]
struct Server {
    name: &'static str,
    port: u16,
    dir: TempDir,
    process: Child,
    /// Ends the server when this process ends, however it does.
    watchdog: Child,
}

impl Server {
    fn spawn(name: &'static str, mut command: Command, port: u16) -> Result<Self, String> {
        let fault = |error: std::io::Error| format!("{name} cannot be started: {error}");
        let dir = tempfile::Builder::new().prefix("postrider-").tempdir().map_err(fault)?;
        let log = File::create(dir.path().join("log")).map_err(fault)?;
        command.current_dir(dir.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(fault)?).stderr(log);
        let process = command.spawn().map_err(fault)?;
        let watchdog = watchdog(&process, dir.path()).map_err(fault)?;
        Ok(Self { name, port, dir, process, watchdog })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let address = (Ipv4Addr::LOCALHOST, self.port).into();
        let process = &mut self.process;
        let answers = poll::until_blocking(START, "the server answers", || match process.try_wait() {
            Ok(Some(status)) => Some(Err(format!("it ended at once: {status}"))),
            _ => speaks_http(address).then_some(Ok(())),
        });
        let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        answers.and_then(|result| result).map_err(|error| format!("{}: {error}\n{}", self.name, log()))
    }
}

impl Drop for Server {
    /// Only of a server that was not started well: those that are shared live as long as the process.
    fn drop(&mut self) {
        self.watchdog.kill().ok();
        self.watchdog.wait().ok();
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Its standard input is closed when this process ends. The server's id is no other's then, for nobody has waited
/// for it.
fn watchdog(server: &Child, dir: &Path) -> std::io::Result<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", r#"cat >/dev/null; kill -KILL "$1"; rm -rf "$2""#, "watchdog"]);
    command.arg(server.id().to_string()).arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Whether anything comes back that is HTTP: what it says does not matter.
fn speaks_http(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer == *b"HTTP/")
    };
    ask().unwrap_or(false)
}
