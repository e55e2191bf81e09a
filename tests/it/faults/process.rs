//! Tollgate itself: the real binary as a child process, with a state directory of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::upstream::{HOST, Upstream};

/// Where request bodies wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Waiting {
    Spool,
    Stream,
}

/// A running Tollgate.
///
/// # Drop
/// Kills it.
pub(super) struct Tollgate {
    child: Child,
    dir: TempDir,
    pub(super) address: SocketAddr,
    admin: SocketAddr,
}

/// What must come back to where it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    pub(super) descriptors: usize,
    pub(super) resident_kib: u64,
}

impl Tollgate {
    /// Starts it before this upstream, and waits until it listens.
    pub(super) async fn start(upstream: &Upstream, waiting: Waiting) -> Self {
        let dir = TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("upstream.pem"), &upstream.ca_pem).unwrap();
        fs::write(at("tollgate.toml"), configuration(upstream, waiting, dir.path())).unwrap();
        let log = File::create(at("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .arg("--config")
            .arg(at("tollgate.toml"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let unset = "127.0.0.1:0".parse().unwrap();
        let mut tollgate = Self { child, dir, address: unset, admin: unset };
        let began_at = Instant::now();
        let ports = loop {
            let text = fs::read_to_string(tollgate.dir.path().join("state/ports.json")).unwrap_or_default();
            if let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) {
                break ports;
            }
            assert!(began_at.elapsed() < START, "no ports: {}", tollgate.log());
            assert!(tollgate.child.try_wait().unwrap().is_none(), "ended: {}", tollgate.log());
            sleep(Duration::from_millis(20)).await;
        };
        tollgate.address = ports["https"].as_str().unwrap().parse().unwrap();
        tollgate.admin = ports["admin"].as_str().unwrap().parse().unwrap();
        tollgate
    }

    /// The certificate of its local CA.
    pub(super) fn ca_pem(&self) -> String {
        fs::read_to_string(self.dir.path().join("state/ca.pem")).unwrap()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let began_at = Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return Some(status),
                None if began_at.elapsed() > limit => return None,
                None => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub(super) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// All series of this metric together, as of now.
    pub(super) async fn gauge(&self, name: &str) -> f64 {
        sum(&self.metrics().await, name)
    }

    pub(super) async fn metrics(&self) -> String {
        let tcp = TcpStream::connect(self.admin).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
        let request = Request::get("/metrics").header("host", self.admin.to_string());
        let request = request.header("connection", "close").body(Empty::<bytes::Bytes>::new()).unwrap();
        let driving = tokio::spawn(connection);
        let answer = sender.send_request(request).await.unwrap();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        driving.abort();
        String::from_utf8(text.to_vec()).unwrap()
    }

    pub(super) fn footprint(&self) -> Footprint {
        let proc = Path::new("/proc").join(self.child.id().to_string());
        let status = fs::read_to_string(proc.join("status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident_kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
        Footprint { descriptors: fs::read_dir(proc.join("fd")).unwrap().count(), resident_kib }
    }
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The sum of all series of one name.
pub(super) fn sum(metrics: &str, name: &str) -> f64 {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with('{') || rest.starts_with(' ')).then(|| rest.rsplit(' ').next())?
    });
    values.map(|value| value.parse::<f64>().unwrap()).sum()
}

fn configuration(upstream: &Upstream, waiting: Waiting, dir: &Path) -> String {
    let dir = dir.display();
    let spool = if waiting == Waiting::Spool { "1GiB" } else { "" };
    format!(
        r#"
state_dir = "{dir}/state"
[listen]
https = "127.0.0.1:0"
[upstream]
url = "https://{HOST}"
connect = ["{}"]
proxy = "none"
ca_file = "{dir}/upstream.pem"
connect_timeout = "500ms"
handshake_timeout = "500ms"
header_timeout = "600ms"
idle_timeout = "600ms"
pool_idle_timeout = "3s"
[gate]
retry_after_scope = "tenant"
start_rate = 100000.0
burst = 100000
max_wait = "3s"
max_gate = "1s"
probation_rate = 1000000.0
probation_burst = 1000000
[replay]
spool_size = "{spool}"
spool_dir = "{dir}"
[cache]
memory = "16MiB"
max_entry = "8MiB"
[admin]
listen = "127.0.0.1:0"
[log]
level = "warn"
[shutdown]
delay = "0s"
drain = "4s"
[limits]
streams = 256
"#,
        upstream.address
    )
}

/// Making a CA takes a while on a busy machine.
const START: Duration = Duration::from_secs(60);
