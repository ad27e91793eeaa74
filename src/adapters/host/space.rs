//! Memory, room on the disk, processes and open files: what is taken now of what there is.

use std::path::Path;

use crate::adapters::host::root::{HostRoot, Seen, no_sense, number_after, read_number};

/// How much is taken, and how much there is.
pub(super) type Used = (f64, f64);

/// Bytes of memory that are no cache.
pub(super) fn memory(root: &HostRoot) -> Seen<Used> {
    let text = root.read("/proc/meminfo")?;
    let field = |name: &str| {
        let kib = number_after(&text, name);
        kib.map(|kib| kib as f64 * 1024.0)
            .ok_or_else(|| format!("`/proc/meminfo` does not tell `{name}`"))
    };
    let (total, available) = (field("MemTotal:")?, field("MemAvailable:")?);
    Ok(((total - available).max(0.0), total))
}

/// Bytes and files on the file system of a folder, which need not exist yet.
pub(super) struct Disk {
    /// What is kept back for root counts as neither used nor there.
    pub bytes: Used,
    /// None where files are not counted, as on btrfs.
    pub inodes: Option<Used>,
}

/// The file system that a folder lies on, or will lie on. Limits of an account below the file system do not show here: those
/// are a plan's.
pub(super) fn disk(folder: &Path) -> Seen<Disk> {
    let standing = folder.ancestors().find(|folder| folder.exists());
    let standing = standing.ok_or_else(|| format!("nothing of `{}` exists", folder.display()))?;
    let stat = rustix::fs::statvfs(standing)
        .map_err(|error| format!("cannot measure `{}`: {error}", standing.display()))?;
    let of = |whole: u64, free: u64, free_to_us: u64| {
        let used = whole.saturating_sub(free);
        (used as f64, used.saturating_add(free_to_us) as f64)
    };
    let (used, capacity) = of(stat.f_blocks, stat.f_bfree, stat.f_bavail);
    let block = stat.f_frsize as f64;
    Ok(Disk {
        bytes: (used * block, capacity * block),
        inodes: (stat.f_files > 0).then(|| of(stat.f_files, stat.f_ffree, stat.f_favail)),
    })
}

/// Threads of the whole machine, against what its kernel takes.
pub(super) fn threads(root: &HostRoot) -> Seen<Used> {
    let text = root.read("/proc/loadavg")?;
    // The fourth word: those that run, a slash, all there are.
    let all = text.split_whitespace().nth(3).and_then(|word| word.split_once('/')?.1.parse().ok());
    let all: f64 = all.ok_or_else(|| no_sense(Path::new("/proc/loadavg"), &text))?;
    let limit = |name: &str| read_number(&root.place(&format!("/proc/sys/kernel/{name}")));
    Ok((all, limit("pid_max")?.min(limit("threads-max")?) as f64))
}

/// Threads of the account we run as, and how many it may have; none for root, whom the kernel does not limit.
pub(super) struct Account {
    pub threads: f64,
    pub limit: Option<f64>,
}

/// Counts the account's threads: a small file for each process of the machine that shows.
pub(super) fn account(root: &HostRoot) -> Seen<Account> {
    let status = root.read("/proc/self/status")?;
    let account = number_after(&status, "Uid:").ok_or("`/proc/self/status` tells no `Uid`")?;
    let entries = std::fs::read_dir(root.place("/proc"))
        .map_err(|error| format!("cannot list `/proc`: {error}"))?;
    let mut threads = 0;
    for entry in entries.flatten() {
        let is_process = entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        if !is_process {
            continue;
        }
        // One that ends meanwhile counts no more.
        let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else { continue };
        if number_after(&status, "Uid:") == Some(account) {
            threads += number_after(&status, "Threads:").unwrap_or(1);
        }
    }
    let limit = soft_limit(root, "Max processes")?.filter(|_| account != 0);
    Ok(Account { threads: threads as f64, limit })
}

/// Open files of this process against its soft limit; none when it has no limit.
pub(super) fn files(root: &HostRoot) -> Seen<Option<Used>> {
    let Some(limit) = soft_limit(root, "Max open files")? else { return Ok(None) };
    let folder = root.place("/proc/self/fd");
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| format!("cannot list `{}`: {error}", folder.display()))?;
    Ok(Some((entries.count() as f64, limit)))
}

/// A line such as `Max open files  1024  4096  files`.
fn soft_limit(root: &HostRoot, name: &str) -> Seen<Option<f64>> {
    let text = root.read("/proc/self/limits")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let soft = line.and_then(|rest| rest.split_whitespace().next());
    match soft {
        Some("unlimited") => Ok(None),
        Some(number) => number
            .parse()
            .map(Some)
            .map_err(|_| format!("`/proc/self/limits` makes no sense at `{name}`")),
        None => Err(format!("`/proc/self/limits` does not tell `{name}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::host::root::fixture::Machine;

    #[test]
    fn cache_is_no_demand() {
        let machine = Machine::bare();
        assert_eq!(memory(&machine.root()), Ok((4_096_000_000.0, 16_384_000_000.0)));
        machine.write("proc/meminfo", "MemTotal: 16000000 kB\n");
        assert!(memory(&machine.root()).unwrap_err().contains("MemAvailable"));
        machine.write("proc/meminfo", "MemTotal: much\nMemAvailable: more\n");
        assert!(memory(&machine.root()).is_err());
    }

    #[test]
    fn threads_count_against_the_smaller_of_the_kernels_limits() {
        let machine = Machine::bare();
        assert_eq!(threads(&machine.root()), Ok((100.0, 1000.0)));
        machine.write("proc/loadavg", "0.1 0.1 0.1 1-100\n");
        assert!(threads(&machine.root()).unwrap_err().contains("loadavg"));
    }

    #[test]
    fn an_account_has_the_threads_of_all_its_processes() {
        let machine = Machine::bare();
        let ours = account(&machine.root()).unwrap();
        assert_eq!((ours.threads, ours.limit), (5.0, Some(50.0)));
        machine.write("proc/self/status", "Uid:\t0\t0\t0\t0\n");
        let root = account(&machine.root()).unwrap();
        assert_eq!((root.threads, root.limit), (7.0, None), "the kernel does not limit root");
    }

    #[test]
    fn open_files_count_against_the_soft_limit() {
        let machine = Machine::bare();
        assert_eq!(files(&machine.root()), Ok(Some((2.0, 20.0))));
        machine.write("proc/self/limits", "Max open files  unlimited  unlimited  files\n");
        assert_eq!(files(&machine.root()), Ok(None));
        machine.write("proc/self/limits", "Max processes  1  1  processes\n");
        assert!(files(&machine.root()).unwrap_err().contains("Max open files"));
    }

    #[test]
    fn a_folder_that_is_not_there_yet_lies_on_the_disk_of_the_one_around_it() {
        let folder = tempfile::tempdir().unwrap();
        let (here, later) =
            (disk(folder.path()).unwrap(), disk(&folder.path().join("a/b")).unwrap());
        assert_eq!(here.bytes.1 > 0.0, later.bytes.1 > 0.0);
        assert!(here.bytes.0 <= here.bytes.1 && here.inodes.is_none_or(|it| it.0 <= it.1));
    }
}
