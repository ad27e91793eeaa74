//! How busy the machine was, looked at by another process than any of those that make it busy: every window that slides over
//! the time, not a row of fixed ones.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks.
const EVERY: Duration = Duration::from_millis(100);
/// Ticks of `/proc/stat` in a second, on every machine we run on.
const TICKS_PER_S: f64 = 100.0;
/// The argument that makes this program the sampler.
const SAMPLER: &str = "sampler";

/// The sampler's own life: writes when it looked, in seconds, and how long all cores together were busy. Ends when nobody
/// listens any more.
pub fn sample() -> io::Result<()> {
    let begun = Instant::now();
    let mut out = io::stdout().lock();
    loop {
        writeln!(out, "{:.6} {:.2}", begun.elapsed().as_secs_f64(), busy_s()?)?;
        out.flush()?;
        std::thread::sleep(EVERY);
    }
}

/// Busy seconds of all cores so far: everything but idle and waiting for a disk (proc_stat(5)).
fn busy_s() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).filter_map(|it| it.parse().ok()).collect();
    let [user, nice, system, _idle, _wait, irq, softirq, steal, ..] = ticks[..] else {
        return Err(io::Error::other("the kernel's words on the processors changed"));
    };
    Ok((user + nice + system + irq + softirq + steal) / TICKS_PER_S)
}

/// A sampler at work.
pub(in crate::bench) struct Sampler {
    child: Child,
    reading: JoinHandle<Vec<(f64, f64)>>,
    cores: f64,
}

impl Sampler {
    pub(in crate::bench) fn start(program: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(["bench", SAMPLER])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        let reading = std::thread::spawn(move || {
            let lines = BufReader::new(said).lines().map_while(Result::ok);
            let pair = |line: String| {
                let (at, busy) = line.split_once(' ')?;
                Some((at.parse().ok()?, busy.parse().ok()?))
            };
            lines.filter_map(pair).collect()
        });
        let cores = std::thread::available_parallelism()?.get() as f64;
        Ok(Self { child, reading, cores })
    }

    /// Ends it, and says what it saw.
    pub(in crate::bench) fn end(mut self) -> io::Result<Seen> {
        self.child.kill()?;
        self.child.wait()?;
        let samples = self.reading.join().map_err(|_| io::Error::other("nobody read on"))?;
        Ok(Seen { samples, cores: self.cores })
    }
}

/// When it was looked, and busy seconds so far.
pub(in crate::bench) struct Seen {
    samples: Vec<(f64, f64)>,
    cores: f64,
}

impl Seen {
    /// The busiest window of this length, as a share of the machine; wherever it begins.
    pub(in crate::bench) fn worst(&self, length_s: f64) -> f64 {
        let mut worst: f64 = 0.0;
        let mut end = 0;
        for (begin, (from, before)) in self.samples.iter().enumerate() {
            end = end.max(begin);
            while self.samples.get(end).is_some_and(|(at, _)| at - from < length_s - 0.02) {
                end += 1;
            }
            let Some((to, after)) = self.samples.get(end) else { break };
            worst = worst.max((after - before) / (to - from) / self.cores);
        }
        worst
    }

    pub(in crate::bench) fn mean(&self) -> f64 {
        match (self.samples.first(), self.samples.last()) {
            (Some((from, before)), Some((to, after))) if to > from => {
                (after - before) / (to - from) / self.cores
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_window_is_found_wherever_it_begins() {
        // Two cores; half busy, but for two seconds in the middle when both are.
        let (mut busy, mut samples) = (0.0, Vec::new());
        for n in 0..=200 {
            let at = f64::from(n) * 0.1;
            samples.push((at, busy));
            busy += 0.1 * if (73..93).contains(&n) { 2.0 } else { 1.0 };
        }
        let seen = Seen { samples, cores: 2.0 };
        assert!((seen.worst(1.0) - 1.0).abs() < 1e-6, "{}", seen.worst(1.0));
        assert!((seen.worst(5.0) - 0.7).abs() < 1e-6, "{}", seen.worst(5.0));
        assert!((seen.mean() - 0.55).abs() < 1e-6, "{}", seen.mean());
    }
}
