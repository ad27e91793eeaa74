//! A `spark serve` that is measured: started on a data folder of its own, with default settings, and looked at from outside.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longest wait for one start.
pub(super) const START_MAX: Duration = Duration::from_mins(1);
/// How often readiness is asked for.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for an end, before it is forced.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A server, ready; it ends with this value.
pub(super) struct Served {
    child: Child,
    pub(super) address: SocketAddr,
    /// Seconds from start to ready.
    pub(super) ready_s: f64,
    /// Ways to become the first administrator, as they were printed.
    links: mpsc::Receiver<String>,
}

impl Served {
    /// Starts `program serve` and waits until it is ready; `None` when it is not in time. It has these settings and no
    /// others, whatever the environment says.
    pub(super) fn start(
        program: &Path,
        data: &Path,
        settings: &[(&str, String)],
    ) -> io::Result<Option<Self>> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(program);
        command.args(["serve", "--listen", &address.to_string(), "--data"]).arg(data);
        for (name, _) in std::env::vars_os() {
            if name == "DATABASE_URL" || name.as_encoded_bytes().starts_with(b"SPARK_") {
                command.env_remove(name);
            }
        }
        command.envs(settings.iter().map(|(name, value)| (*name, value)));
        let begun = Instant::now();
        // No settings file of whoever measures.
        let mut child = command
            .current_dir(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (told, links) = mpsc::channel();
        let said = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                if let Some((_, token)) = line.split_once("/bienvenue/") {
                    // Nobody may want to know.
                    let _ = told.send(format!("/bienvenue/{}", token.trim()));
                }
            }
        });
        let mut served = Self { child, address, ready_s: 0.0, links };
        while begun.elapsed() < START_MAX {
            if is_ready(address) {
                served.ready_s = begun.elapsed().as_secs_f64();
                return Ok(Some(served));
            }
            std::thread::sleep(ASK_EVERY);
        }
        Ok(None)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The path of the link for the first administrator.
    pub(super) fn first_link(&self) -> Option<String> {
        self.links.recv_timeout(START_MAX).ok()
    }

    /// Asks it to end, and waits until it has.
    pub(super) fn stop(mut self) -> io::Result<()> {
        self.ask_to_end()?;
        self.child.wait()?;
        Ok(())
    }

    fn ask_to_end(&self) -> io::Result<()> {
        let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) else {
            return Ok(());
        };
        Ok(rustix::process::kill_process(pid, rustix::process::Signal::TERM)?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Reached with a running server on an error path only; its PostgreSQL must not outlive it.
        let is_running = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        if !is_running(&mut self.child) {
            return;
        }
        let begun = Instant::now();
        let is_asked = self.ask_to_end().is_ok();
        while is_asked && begun.elapsed() < STOP_MAX && is_running(&mut self.child) {
            std::thread::sleep(ASK_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> io::Result<bool> {
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
