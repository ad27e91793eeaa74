//! What the kernel tells of a process: the processor time it took and the memory it holds.

use std::fs;
use std::io;

/// Linux counts processor time in hundredths of a second, on every machine we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory of a process, in MB (10^6 bytes).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Memory {
    /// What belongs to no file.
    pub(super) anonymous_mb: f64,
    pub(super) resident_mb: f64,
}

/// Memory that a process holds now.
pub(super) fn memory(pid: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = value.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib * 1024.0 / 1e6)
    };
    match (field("RssAnon:"), field("VmRSS:")) {
        (Some(anonymous_mb), Some(resident_mb)) => Ok(Memory { anonymous_mb, resident_mb }),
        _ => Err(io::Error::other("the kernel tells no RssAnon")),
    }
}

/// Processor seconds that a process took so far, all its threads together, its children not.
pub(super) fn cpu_s(pid: u32) -> io::Result<f64> {
    Ok(stat(pid)?.own_s)
}

/// Processor seconds of a process, of its children that stand, and of those that have ended.
pub(super) fn family_cpu_s(pid: u32) -> io::Result<f64> {
    let parent = stat(pid)?;
    let mut seconds = parent.own_s + parent.ended_children_s;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ended meanwhile is counted with its parent the next time.
        if let Ok(child) = stat(child)
            && child.parent == pid
        {
            seconds += child.own_s;
        }
    }
    Ok(seconds)
}

struct Stat {
    parent: u32,
    own_s: f64,
    ended_children_s: f64,
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    read_stat(&text).ok_or_else(|| io::Error::other("the kernel's words on a process changed"))
}

/// A line of `/proc/PID/stat`. The name stands in brackets and may hold anything, brackets too.
fn read_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own_s: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
        ended_children_s: (ticks(13)? + ticks(14)?) / TICKS_PER_SECOND,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_is_no_trouble() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 0 0 0 0 0 250 50 30 20 20 0 4 0 9";
        let stat = read_stat(text).unwrap();
        assert_eq!(stat.parent, 3);
        assert!((stat.own_s - 3.0).abs() < 1e-9 && (stat.ended_children_s - 0.5).abs() < 1e-9);
    }

    #[test]
    fn work_shows() {
        let before = cpu_s(std::process::id()).unwrap();
        let begun = std::time::Instant::now();
        while begun.elapsed() < std::time::Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        assert!(cpu_s(std::process::id()).unwrap() > before);
        assert!(memory(std::process::id()).unwrap().anonymous_mb > 0.1);
    }
}
