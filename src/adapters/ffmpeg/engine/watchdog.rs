//! Judging from outside whether a child still works.

use std::time::Duration;

use rustix::process::Pid;
use tokio::time::Instant;

use crate::adapters::ffmpeg::engine::EngineSettings;
use crate::ports::media_engine::MediaError;

/// Judges from outside whether a child still works.
pub(super) struct Watchdog {
    pid: Pid,
    silent_cpu_max: Duration,
    silent_running_max: Duration,
    running_max: Duration,
    looked_at: Instant,
    running: Duration,
    silent_running: Duration,
    cpu_when_heard: Duration,
    held: u64,
    peak: u64,
}

impl Watchdog {
    pub(super) fn new(pid: Pid, settings: &EngineSettings, running_max: Duration) -> Self {
        Self {
            pid,
            silent_cpu_max: settings.silent_cpu_max,
            silent_running_max: settings.silent_running_max,
            running_max,
            looked_at: Instant::now(),
            running: Duration::ZERO,
            silent_running: Duration::ZERO,
            cpu_when_heard: Duration::ZERO,
            held: 0,
            peak: 0,
        }
    }

    /// Bytes of memory the child held at the last look.
    pub(super) const fn holds(&self) -> u64 {
        self.held
    }

    /// The most it ever held, in bytes, as of the last look.
    pub(super) const fn peak(&self) -> u64 {
        self.peak
    }

    pub(super) fn heard(&mut self) {
        self.silent_running = Duration::ZERO;
        if let Some(usage) = usage(self.pid) {
            self.cpu_when_heard = usage.cpu;
        }
    }

    pub(super) fn look(&mut self) -> Option<MediaError> {
        let elapsed = self.looked_at.elapsed();
        self.looked_at = Instant::now();
        let usage = usage(self.pid);
        if let Some((held, peak)) = memory(self.pid) {
            (self.held, self.peak) = (held, self.peak.max(peak));
        }
        // A renderer stopped by the 80 % rule is not stuck: only time it may run counts.
        if usage.as_ref().is_some_and(|usage| usage.stopped) {
            return None;
        }
        self.running += elapsed;
        self.silent_running += elapsed;
        let stalled = |what: String| Some(MediaError::Stalled { what });
        if self.running > self.running_max {
            return stalled(format!("plus de {} s de travail", self.running_max.as_secs()));
        }
        if let Some(usage) = usage
            && usage.cpu.saturating_sub(self.cpu_when_heard) > self.silent_cpu_max
        {
            return stalled(format!("{} s de calcul sans avancer", self.silent_cpu_max.as_secs()));
        }
        if self.silent_running > self.silent_running_max {
            return stalled(format!("{} s sans avancer", self.silent_running_max.as_secs()));
        }
        None
    }
}

/// What `/proc` says of a process.
struct Usage {
    cpu: Duration,
    stopped: bool,
}

/// Unit of CPU times in `/proc`: fixed by the kernel's interface, whatever its own tick.
const PROC_TICKS_PER_S: f64 = 100.0;

/// Reads `/proc/PID/stat` (proc(5)): state is the field after the name, user and system time the 12th and 13th
/// after that, in ticks. None where `/proc` is masked: running time alone then decides.
fn usage(pid: Pid) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let ticks: u64 = fields.skip(10).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let cpu = Duration::from_secs_f64(ticks as f64 / PROC_TICKS_PER_S);
    Some(Usage { cpu, stopped: matches!(state, "T" | "t") })
}

/// Resident memory of a process now and at its most (`VmRSS` and `VmHWM`, proc_pid_status(5)), in bytes.
fn memory(pid: Pid) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    Some((bytes("VmRSS:")?, bytes("VmHWM:")?))
}
