//! The children that may be stopped for a moment: how much CPU time they take, and the signals that stop them and let them
//! go on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::ports::renders::Renders;

/// The renders of one engine.
#[derive(Debug, Clone, Default)]
pub struct RunningRenders(Arc<Mutex<Herd>>);

#[derive(Debug, Default)]
struct Herd {
    /// By process id.
    children: HashMap<i32, Counted>,
    /// What those that left took since the look before, in nanoseconds.
    left: u64,
    is_halted: bool,
}

/// The CPU time of a child, in nanoseconds.
#[derive(Debug, Default)]
struct Counted {
    /// Of each thread when it was looked at last.
    threads: HashMap<i32, u64>,
    /// All that was told so far.
    told: u64,
}

/// What a process took beyond its threads' sum is believed from here on: its own count goes in steps of 10 ms.
const STEP_NS: u64 = 20_000_000;

impl Counted {
    /// What it took since this was asked last. Threads that ended meanwhile drop out of the sum over threads: what the process as
    /// a whole counts is taken where it is more.
    fn spent(&mut self, pid: i32) -> u64 {
        let now = threads_of(pid);
        let mut spent = 0;
        for (thread, time) in &now {
            spent += time.saturating_sub(self.threads.get(thread).copied().unwrap_or(0));
        }
        self.threads = now;
        let unseen = process_of(pid).saturating_sub(self.told + spent);
        if unseen > STEP_NS {
            spent += unseen;
        }
        self.told += spent;
        spent
    }
}

impl RunningRenders {
    /// Takes a child in that has fenced itself in: one that dies with its parent even while it is stopped. To be let go of
    /// before the child is waited for, so that its number is nobody else's.
    pub(super) fn take_in(&self, pid: Pid) -> Tether {
        let mut herd = self.herd();
        if herd.is_halted {
            signal(pid, Signal::STOP);
        }
        let mut counted = Counted::default();
        // What it took before was nobody's render.
        counted.spent(pid.as_raw_nonzero().get());
        herd.children.insert(pid.as_raw_nonzero().get(), counted);
        Tether { herd: self.clone(), pid }
    }

    /// How many may be stopped now.
    pub fn len(&self) -> usize {
        self.herd().children.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn herd(&self) -> MutexGuard<'_, Herd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self, is_halted: bool) {
        let mut herd = self.herd();
        if herd.is_halted == is_halted {
            return;
        }
        herd.is_halted = is_halted;
        let order = if is_halted { Signal::STOP } else { Signal::CONT };
        for pid in herd.children.keys().filter_map(|pid| Pid::from_raw(*pid)) {
            signal(pid, order);
        }
    }
}

impl Renders for RunningRenders {
    fn spent(&self) -> Option<Duration> {
        let mut herd = self.herd();
        let left = std::mem::take(&mut herd.left);
        if herd.children.is_empty() && left == 0 {
            return None;
        }
        let spent: u64 = herd.children.iter_mut().map(|(pid, counted)| counted.spent(*pid)).sum();
        Some(Duration::from_nanos(left + spent))
    }

    fn go(&self) {
        self.all(false);
    }

    fn halt(&self) {
        self.all(true);
    }
}

/// Holds a child among those that may be stopped. Dropped, the child runs and is not stopped again.
pub(super) struct Tether {
    herd: RunningRenders,
    pid: Pid,
}

impl Drop for Tether {
    fn drop(&mut self) {
        let mut herd = self.herd.herd();
        let pid = self.pid.as_raw_nonzero().get();
        if let Some(mut counted) = herd.children.remove(&pid) {
            // Its last moments were a render's too: taken for live work, they would hold the others back.
            herd.left += counted.spent(pid);
        }
        signal(self.pid, Signal::CONT);
    }
}

/// The child is unreaped as long as it is held here, so its number cannot belong to another process.
fn signal(pid: Pid, signal: Signal) {
    let _ = rustix::process::kill_process_group(pid, signal);
}

/// CPU time of each thread of a process so far, in nanoseconds: the first field of `schedstat` (Linux, scheduler statistics).
/// Empty when it is gone, or where `/proc` is masked.
fn threads_of(pid: i32) -> HashMap<i32, u64> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return HashMap::new() };
    tasks
        .flatten()
        .filter_map(|task| {
            let thread = task.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let time = stat.split_ascii_whitespace().next()?.parse().ok()?;
            Some((thread, time))
        })
        .collect()
}

/// CPU time of a process so far, with that of threads that ended, in nanoseconds: user and system time of `stat` in ticks of 10 ms
/// (proc_pid_stat(5)). It stands until the process is waited for; 0 when it is gone.
fn process_of(pid: i32) -> u64 {
    const TICK_NS: u64 = 10_000_000;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * TICK_NS
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};
    use std::time::Instant;

    use super::*;

    /// A child that computes for ever, the leader of its group.
    struct Spinner(Child);

    impl Spinner {
        fn new() -> Self {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).process_group(0);
            Self(command.spawn().expect("a shell"))
        }

        fn pid(&self) -> Pid {
            Pid::from_raw(i32::try_from(self.0.id()).expect("a number")).expect("not 0")
        }

        fn is_stopped(&self) -> bool {
            let stat =
                std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("a child");
            stat.rsplit_once(')').expect("a name").1.trim_start().starts_with('T')
        }

        fn becomes(&self, is_stopped: bool) {
            let asked = Instant::now();
            while self.is_stopped() != is_stopped {
                assert!(asked.elapsed() < Duration::from_secs(5), "stopped: {}", !is_stopped);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    impl Drop for Spinner {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn renders_are_stopped_together_and_go_on_together() {
        let (renders, children) = (RunningRenders::default(), [Spinner::new(), Spinner::new()]);
        let tethers = children.each_ref().map(|child| renders.take_in(child.pid()));
        assert_eq!(renders.len(), 2);
        renders.halt();
        for child in &children {
            child.becomes(true);
        }
        let late = Spinner::new();
        let late_tether = renders.take_in(late.pid());
        late.becomes(true);
        renders.go();
        for child in children.iter().chain([&late]) {
            child.becomes(false);
        }
        renders.halt();
        late.becomes(true);
        drop(late_tether);
        late.becomes(false);
        drop(tethers);
        renders.spent();
        assert!(renders.is_empty() && renders.spent().is_none());
    }

    #[test]
    fn the_last_moments_of_a_child_are_counted_when_it_is_gone() {
        let (renders, child) = (RunningRenders::default(), Spinner::new());
        let tether = renders.take_in(child.pid());
        renders.spent();
        std::thread::sleep(Duration::from_millis(300));
        // It ends, and is not waited for yet.
        signal(child.pid(), Signal::KILL);
        std::thread::sleep(Duration::from_millis(50));
        drop(tether);
        assert!(renders.is_empty());
        let spent = renders.spent().expect("what was left");
        assert!(spent > Duration::from_millis(30), "it span for 300 ms: {spent:?}");
        assert_eq!(renders.spent(), None, "once");
    }

    #[test]
    fn their_time_is_counted_and_stops_with_them() {
        let (renders, child) = (RunningRenders::default(), Spinner::new());
        let _tether = renders.take_in(child.pid());
        renders.spent();
        let waited = Instant::now();
        let mut spent = Duration::ZERO;
        while spent < Duration::from_millis(50) {
            std::thread::sleep(Duration::from_millis(20));
            spent += renders.spent().expect("one child");
            assert!(waited.elapsed() < Duration::from_secs(20), "it spins and takes {spent:?}");
        }
        renders.halt();
        child.becomes(true);
        renders.spent();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(renders.spent(), Some(Duration::ZERO), "it is stopped");
    }
}
