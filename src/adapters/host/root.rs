//! Where the kernel tells of itself, and how its small files are read.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What was read, or why not, in words for people.
pub(super) type Seen<T> = Result<T, String>;

/// The folder that holds `proc` and `sys`: `/`, or one that a test wrote.
#[derive(Debug, Clone)]
pub struct HostRoot {
    folder: PathBuf,
}

impl Default for HostRoot {
    fn default() -> Self {
        Self::at(Path::new("/"))
    }
}

impl HostRoot {
    /// Reads `proc` and `sys` in this folder.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// Where an absolute path of the machine lies.
    pub(super) fn place(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }

    /// A whole file, by its absolute path on the machine.
    pub(super) fn read(&self, path: &str) -> Seen<String> {
        read(&self.place(path))
    }
}

/// A whole file.
pub(super) fn read(path: &Path) -> Seen<String> {
    std::fs::read_to_string(path).map_err(|error| cannot_read(path, &error))
}

/// A whole file, or none when it does not exist.
pub(super) fn read_if_there(path: &Path) -> Seen<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot_read(path, &error)),
    }
}

/// A file that holds one number and nothing else.
pub(super) fn read_number(path: &Path) -> Seen<u64> {
    let text = read(path)?;
    text.trim().parse().map_err(|_| no_sense(path, &text))
}

/// The number after a word at the beginning of a line, such as `MemTotal:` or `usage_usec`.
pub(super) fn number_after(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(word)?;
        let is_whole = rest.starts_with(char::is_whitespace);
        is_whole.then(|| rest.split_whitespace().next()?.parse().ok())?
    })
}

/// Longest part of a file that is repeated in a reason, in characters.
const TOLD_MAX: usize = 40;

/// Why a file that was read says nothing.
pub(super) fn no_sense(path: &Path, text: &str) -> String {
    let told: String = text.trim().chars().take(TOLD_MAX).collect();
    format!("`{}` makes no sense: {told:?}", path.display())
}

fn cannot_read(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read `{}`: {error}", path.display())
}

/// A machine that a test writes.
#[cfg(test)]
pub(super) mod fixture {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::HostRoot;

    pub(in crate::adapters::host) struct Machine {
        folder: tempfile::TempDir,
    }

    impl Machine {
        /// Two idle cores, 16 GB, 100 threads, no control groups.
        pub(in crate::adapters::host) fn bare() -> Self {
            let machine = Self { folder: tempfile::tempdir().expect("a folder") };
            machine
                .write("proc/stat", &stat(&[(100, 900), (100, 900)]))
                .write("proc/meminfo", "MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 12000000 kB\n")
                .write("proc/loadavg", "0.10 0.10 0.10 1/100 4242\n")
                .write("proc/sys/kernel/pid_max", "32768\n")
                .write("proc/sys/kernel/threads-max", "1000\n")
                .write("proc/sys/kernel/random/boot_id", "first\n")
                .write("proc/self/status", "Name:\tspark\nUid:\t1000\t1000\t1000\t1000\nThreads:\t5\nCpus_allowed_list:\t0-1\n")
                .write("proc/42/status", "Name:\tspark\nUid:\t1000\t1000\t1000\t1000\nThreads:\t5\n")
                .write("proc/43/status", "Name:\tother\nUid:\t0\t0\t0\t0\nThreads:\t7\n")
                .write("proc/self/limits", "Limit  Soft Limit  Hard Limit  Units\nMax processes  50  50  processes\nMax open files  20  40  files\n")
                .write("proc/self/fd/0", "")
                .write("proc/self/fd/1", "")
                .write("proc/self/cgroup", "")
                .write("proc/self/mountinfo", "")
                .write("proc/net/dev", &net(&[("lo", 9_000_000, 9_000_000), ("eth0", 1000, 2000)]))
                .write("proc/diskstats", "");
            machine
        }

        pub(in crate::adapters::host) fn write(&self, path: &str, text: &str) -> &Self {
            let path = self.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
            self
        }

        pub(in crate::adapters::host) fn remove(&self, path: &str) -> &Self {
            std::fs::remove_file(self.path().join(path)).expect("a file");
            self
        }

        pub(in crate::adapters::host) fn path(&self) -> &Path {
            self.folder.path()
        }

        pub(in crate::adapters::host) fn root(&self) -> HostRoot {
            HostRoot::at(self.path())
        }

        /// A process in the group `/work/spark` of a version 2 tree.
        pub(in crate::adapters::host) fn in_v2_leaf(&self) -> &Self {
            self.write("proc/self/cgroup", "0::/work/spark\n")
                .write(
                    "proc/self/mountinfo",
                    "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
                )
                .write("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
                .write("sys/fs/cgroup/cpu.stat", "usage_usec 90000000\n");
            for group in ["work", "work/spark"] {
                self.group(group, "cgroup.type", "domain\n")
                    .group(group, "cgroup.controllers", "cpu memory pids\n")
                    .group(group, "cpu.max", "max 100000\n")
                    .group(group, "cpu.stat", "usage_usec 5000000\nuser_usec 1\n")
                    .group(group, "memory.max", "max\n")
                    .group(group, "memory.current", "1000\n")
                    .group(
                        group,
                        "memory.stat",
                        "anon 1\nactive_file 300\ninactive_file 200\nfile_dirty 30\nfile_writeback 20\n",
                    )
                    .group(group, "pids.max", "max\n")
                    .group(group, "pids.current", "12\n");
            }
            self
        }

        /// Writes a file of a group of the version 2 tree.
        pub(in crate::adapters::host) fn group(
            &self,
            group: &str,
            file: &str,
            text: &str,
        ) -> &Self {
            self.write(&format!("sys/fs/cgroup/{group}/{file}"), text)
        }
    }

    /// `/proc/stat` of cores with these busy and idle ticks.
    pub(in crate::adapters::host) fn stat(cores: &[(u64, u64)]) -> String {
        let line =
            |name: &str, busy: u64, idle: u64| format!("{name} {busy} 0 0 {idle} 0 0 0 0 0 0\n");
        let whole = cores.iter().fold((0, 0), |sum, core| (sum.0 + core.0, sum.1 + core.1));
        let mut text = line("cpu ", whole.0, whole.1);
        for (number, core) in cores.iter().enumerate() {
            text += &line(&format!("cpu{number}"), core.0, core.1);
        }
        text + "intr 1 0 0\nctxt 7\nbtime 1000\n"
    }

    /// `/proc/net/dev` of interfaces with these bytes received and sent.
    pub(in crate::adapters::host) fn net(interfaces: &[(&str, u64, u64)]) -> String {
        let mut text =
            "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n".to_owned();
        for (name, received, sent) in interfaces {
            _ = writeln!(text, "  {name}: {received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0");
        }
        text
    }
}
