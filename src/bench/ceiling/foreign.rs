//! A load that is none of the house's: it comes and goes, and nobody can stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// It comes once in so long, and stays for so long.
const EVERY: Duration = Duration::from_mins(1);
const LASTS: Duration = Duration::from_secs(8);
/// How long before its first coming.
const FIRST: Duration = Duration::from_secs(20);
/// Shares of the machine that it wants, in turn.
const SHARES: [f64; 3] = [0.30, 0.35, 0.40];
/// It works and rests in turns of this length.
const TURN: Duration = Duration::from_millis(10);

/// A load at work, one thread a core; it ends with this value.
pub(super) struct Foreign {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Foreign {
    pub(super) fn start() -> std::io::Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism()?.get();
        let begun = Instant::now();
        let thread = |_| {
            let end = end.clone();
            std::thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    match share_at(begun.elapsed()) {
                        None => std::thread::sleep(TURN),
                        Some(share) => work(share),
                    }
                }
            })
        };
        let threads = (0..cores).map(thread).collect();
        Ok(Self { end, threads })
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The share it wants so long after its start.
fn share_at(since: Duration) -> Option<f64> {
    let since = since.checked_sub(FIRST)?;
    let round = since.as_secs() / EVERY.as_secs();
    let within = since.as_secs_f64() - (round * EVERY.as_secs()) as f64;
    (within < LASTS.as_secs_f64()).then(|| SHARES[round as usize % SHARES.len()])
}

fn work(share: f64) {
    let begun = Instant::now();
    let mut turns = 0_u64;
    while begun.elapsed() < TURN.mul_f64(share) {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
    std::thread::sleep(TURN.saturating_sub(begun.elapsed()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_once_a_minute_for_eight_seconds() {
        let at = |seconds| share_at(Duration::from_secs(seconds));
        assert_eq!(
            (at(0), at(19), at(20), at(27), at(28)),
            (None, None, Some(0.30), Some(0.30), None)
        );
        assert_eq!((at(80), at(140), at(200)), (Some(0.35), Some(0.40), Some(0.30)));
    }
}
