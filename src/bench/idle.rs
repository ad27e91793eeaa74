//! How long spark takes to be ready on an existing cluster, and how much memory it holds when nothing happens.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Most time spark may take to be ready, in seconds.
pub const READY_S_MAX: f64 = 3.0;
/// Most anonymous memory it may hold when idle, in MB (10^6 bytes), without PostgreSQL.
pub const IDLE_MB_MAX: f64 = 60.0;
/// Starts measured, after one that creates the cluster.
const STARTS: usize = 3;
/// How long it is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(10);
/// Longest wait for one start.
const START_MAX: Duration = Duration::from_mins(1);
/// How often readiness is asked for.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Seconds from start to ready on an existing, stopped cluster, each start.
    pub ready_s: Vec<f64>,
    /// Anonymous memory after the last start, idle, in MB.
    pub idle_mb: f64,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum IdleError {
    #[error("cannot start or reach the measured spark")]
    Io(#[from] std::io::Error),
    #[error("the measured spark was not ready after {} s", START_MAX.as_secs())]
    NotReady,
    #[error("the kernel tells no RssAnon for the measured spark")]
    NoMemory,
}

/// Starts `program serve` on an own data folder several times and looks at it from outside.
pub fn measure(program: &Path, data: &Path) -> Result<Measured, IdleError> {
    let mut ready_s = Vec::with_capacity(STARTS);
    start(program, data)?.1.stop()?;
    for _ in 1..STARTS {
        let (seconds, server) = start(program, data)?;
        ready_s.push(seconds);
        server.stop()?;
    }
    let (seconds, server) = start(program, data)?;
    ready_s.push(seconds);
    std::thread::sleep(SETTLE);
    let idle_mb = anonymous_mb(server.0.id())?;
    server.stop()?;
    Ok(Measured { ready_s, idle_mb })
}

struct Server(Child);

impl Server {
    fn stop(mut self) -> Result<(), IdleError> {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(std::io::Error::from)?;
        }
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only reached on an error path; after `stop` the process is gone.
        let _ = self.0.kill();
    }
}

fn start(program: &Path, data: &Path) -> Result<(f64, Server), IdleError> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let begun = Instant::now();
    let child = Command::new(program)
        .args(["serve", "--listen", &address.to_string(), "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let server = Server(child);
    while begun.elapsed() < START_MAX {
        if is_ready(address) {
            return Ok((begun.elapsed().as_secs_f64(), server));
        }
        std::thread::sleep(ASK_EVERY);
    }
    Err(IdleError::NotReady)
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

/// RssAnon of a process in MB.
fn anonymous_mb(pid: u32) -> Result<f64, IdleError> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok())
        .map(|kib| kib * 1024.0 / 1e6)
        .ok_or(IdleError::NoMemory)
}
