//! Renders that an earlier process left behind. They die with their parent; this is for those that could not, such as one stopped
//! before it had fenced itself in.

use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::adapters::host::root::{HostRoot, number_after};
use crate::ports::renders::PARENT_MARK;

/// Kills every child so marked whose parent is another by now: its own has ended. Gives how many. What belongs to other accounts
/// does not show and is left alone.
pub fn sweep_orphans(root: &HostRoot) -> usize {
    let processes = std::fs::read_dir(root.place("/proc")).into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_orphan(root, *pid)).filter(|pid| kill(root, *pid)).count()
}

fn is_orphan(root: &HostRoot, pid: i32) -> bool {
    let Ok(environment) = std::fs::read(root.place(&format!("/proc/{pid}/environ"))) else {
        return false;
    };
    let mark = environment.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(PARENT_MARK.as_bytes())?.strip_prefix(b"=")?;
        std::str::from_utf8(value).ok()?.parse::<u64>().ok()
    });
    let Some(mark) = mark else { return false };
    let status = root.read(&format!("/proc/{pid}/status")).unwrap_or_default();
    number_after(&status, "PPid:").is_some_and(|parent| parent != mark)
}

/// By a handle, so that the number cannot become another's between the look and the signal.
fn kill(root: &HostRoot, pid: i32) -> bool {
    let Some(handle) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
    else {
        return false;
    };
    let is_killed = is_orphan(root, pid) && pidfd_send_signal(&handle, Signal::KILL).is_ok();
    if is_killed {
        let program = std::fs::read_link(Path::new("/proc").join(pid.to_string()).join("exe"));
        tracing::warn!(pid, ?program, "killed a child that an earlier process left behind");
    }
    is_killed
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// A shell that starts a marked sleeper, says its number, and ends when its input does.
    fn parent_of_a_sleeper() -> (Child, i32) {
        let mut shell = Command::new("sh")
            .args(["-c", &format!("{PARENT_MARK}=$$ sleep 600 >/dev/null & echo $!; read end")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a number");
        (shell, line.trim().parse().expect("a number"))
    }

    fn state(pid: i32) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    }

    fn becomes(pid: i32, what: &str, holds: impl Fn(Option<char>) -> bool) {
        let begun = Instant::now();
        while !holds(state(pid)) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{what}: {:?}", state(pid));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_stopped_orphan_is_killed_and_a_child_with_its_parent_is_left_alone() {
        let root = HostRoot::default();
        let (mut gone, orphan) = parent_of_a_sleeper();
        let (mut stays, child) = parent_of_a_sleeper();
        let pid = Pid::from_raw(orphan).expect("not 0");
        rustix::process::kill_process(pid, Signal::STOP).expect("it is ours");
        becomes(orphan, "it is stopped", |state| state == Some('T'));
        assert_eq!(sweep_orphans(&root), 0, "both parents live");
        drop(gone.stdin.take());
        gone.wait().expect("it ends");
        assert_eq!(state(orphan), Some('T'), "the orphan outlived its parent");
        assert_eq!(sweep_orphans(&root), 1);
        becomes(orphan, "it is gone", |state| matches!(state, None | Some('Z')));
        assert!(state(child).is_some_and(|state| state != 'Z'), "the other is left alone");
        let pid = Pid::from_raw(child).expect("not 0");
        rustix::process::kill_process(pid, Signal::KILL).expect("it is ours");
        drop(stays.stdin.take());
        stays.wait().expect("it ends");
    }
}
