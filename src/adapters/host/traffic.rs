//! Counters of the disk and of the network, and what was sent since the month began (iostats, proc_pid_net(5)).

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::adapters::host::root::{HostRoot, Seen, no_sense, number_after};

/// Bytes of a sector in the kernel's counters, whatever the disk's own.
const SECTOR_BYTES: u64 = 512;
/// How often the month's account is written down at most: what a reboot can lose.
const WRITTEN_EVERY_S: i64 = 60;
/// The month's account, in the data folder.
const BOOK: &str = "transfer.json";

/// What an interface counted since the machine started, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    pub received: u64,
    pub sent: u64,
}

/// Bytes read from and written to the disk of a folder so far; none where no disk of this machine is behind it, as with a
/// folder of the network.
pub(super) fn disk_bytes(root: &HostRoot, folder: &Path) -> Seen<Option<u64>> {
    let Some(standing) = folder.ancestors().find_map(|it| it.metadata().ok()) else {
        return Ok(None);
    };
    let device = standing.dev();
    let number = (rustix::fs::major(device), rustix::fs::minor(device));
    // File systems over several disks have a number of their own; the mount names the disk.
    let mounts = root.read("/proc/self/mountinfo")?;
    let words = format!("{}:{}", number.0, number.1);
    let source = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let is_it = before.split(' ').nth(2)? == words;
        is_it.then(|| after.split(' ').nth(1)?.strip_prefix("/dev/"))?
    });
    let path = Path::new("/proc/diskstats");
    for line in root.read("/proc/diskstats")?.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number_of = |place: usize| fields.get(place).and_then(|it| it.parse::<u64>().ok());
        let is_it = (number_of(0), number_of(1))
            == (Some(u64::from(number.0)), Some(u64::from(number.1)))
            || (source.is_some() && fields.get(2).copied() == source);
        if is_it {
            let sectors = number_of(5).zip(number_of(9)).ok_or_else(|| no_sense(path, line))?;
            return Ok(Some((sectors.0 + sectors.1) * SECTOR_BYTES));
        }
    }
    Ok(None)
}

/// The counters of the interfaces that lead out of this machine. Those of hardware, real or pretended; where none is, as in a
/// container, all but loopback.
pub(super) fn interfaces(root: &HostRoot) -> Seen<BTreeMap<String, Counted>> {
    let text = root.read("/proc/net/dev")?;
    let path = Path::new("/proc/net/dev");
    let mut all = BTreeMap::new();
    for line in text.lines().skip(2) {
        let (name, counters) = line.split_once(':').ok_or_else(|| no_sense(path, line))?;
        let counters: Vec<&str> = counters.split_whitespace().collect();
        let number = |place: usize| counters.get(place).and_then(|it| it.parse().ok());
        let both = number(0).zip(number(8)).ok_or_else(|| no_sense(path, line))?;
        if name.trim() != "lo" {
            all.insert(name.trim().to_owned(), Counted { received: both.0, sent: both.1 });
        }
    }
    if !text.starts_with("Inter-") {
        return Err(no_sense(path, &text));
    }
    let is_hardware = |name: &str| root.place(&format!("/sys/class/net/{name}/device")).exists();
    if all.keys().any(|name| is_hardware(name)) {
        all.retain(|name, _| is_hardware(name));
    }
    Ok(all)
}

/// What was sent in a calendar month (UTC). All processes of a data folder keep one book: each adds what the interfaces sent
/// since it was last written, so that two never count the same byte.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Book {
    /// Year and month, such as 2026-11.
    month: String,
    /// Bytes of the month until it was written.
    sent: u64,
    written_at: DateTime<Utc>,
    /// Which start of the machine the counters are of.
    boot: String,
    /// What each interface had sent.
    interfaces: BTreeMap<String, u64>,
}

/// Bytes sent since the month began, as far as this book and the machine's counters know. Writes the book down now and then.
///
/// The first book of a machine that started this month begins with all it sent since; else with nothing.
pub(super) fn sent_this_month(
    root: &HostRoot,
    data: &Path,
    interfaces: &BTreeMap<String, Counted>,
    now: DateTime<Utc>,
) -> Seen<u64> {
    let path = data.join(BOOK);
    let book = match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str::<Book>(&text).map_err(|error| {
            format!("`{}` makes no sense: {error}; remove it to begin anew", path.display())
        })?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("cannot read `{}`: {error}", path.display())),
    };
    let boot = root.read("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    let month = format!("{}-{:02}", now.year(), now.month());
    let sent = match &book {
        Some(book) => {
            let since = sent_since(book, &boot, interfaces);
            // What was sent from the last writing to the month's end counts for the new month: a minute's worth.
            if book.month == month { book.sent + since } else { since }
        }
        None if started_this_month(root, now)? => interfaces.values().map(|it| it.sent).sum(),
        None => 0,
    };
    let is_due = book.as_ref().is_none_or(|book| {
        let age = now - book.written_at;
        book.month != month
            || book.boot != boot
            || age >= TimeDelta::seconds(WRITTEN_EVERY_S)
            || age < TimeDelta::zero()
    });
    if is_due && data.is_dir() {
        let interfaces = interfaces.iter().map(|(name, it)| (name.clone(), it.sent)).collect();
        write(&path, &Book { month, sent, written_at: now, boot, interfaces })?;
    }
    Ok(sent)
}

/// Bytes sent since a book was written. Counters of another start of the machine, or of an interface made anew, began at nothing.
fn sent_since(book: &Book, boot: &str, interfaces: &BTreeMap<String, Counted>) -> u64 {
    let since = interfaces.iter().map(|(name, now)| match book.interfaces.get(name) {
        Some(before) if book.boot == boot && *before <= now.sent => now.sent - before,
        _ => now.sent,
    });
    since.sum()
}

fn started_this_month(root: &HostRoot, now: DateTime<Utc>) -> Seen<bool> {
    let started = number_after(&root.read("/proc/stat")?, "btime")
        .and_then(|seconds| DateTime::from_timestamp(seconds as i64, 0))
        .ok_or("`/proc/stat` does not tell when the machine started")?;
    Ok((started.year(), started.month()) == (now.year(), now.month()))
}

/// Whole or not at all: half a book would be no book.
fn write(path: &Path, book: &Book) -> Seen<()> {
    let doing = |error: std::io::Error| format!("cannot write `{}`: {error}", path.display());
    let text = serde_json::to_vec(book).map_err(|error| doing(error.into()))?;
    let temporary: PathBuf = path.with_extension(format!("json.{}", std::process::id()));
    std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path)).map_err(doing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::host::root::fixture::{Machine, net, stat};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// What the month's account says with these counters.
    #[track_caller]
    fn sent(machine: &Machine, counters: &[(&str, u64, u64)], now: &str) -> u64 {
        machine.write("proc/net/dev", &net(counters));
        let (root, data) = (machine.root(), machine.path().join("data"));
        std::fs::create_dir_all(&data).unwrap();
        sent_this_month(&root, &data, &interfaces(&root).unwrap(), at(now)).unwrap()
    }

    #[test]
    fn the_month_outlives_restarts_and_reboots() {
        let machine = Machine::bare();
        assert_eq!(
            sent(&machine, &[("eth0", 0, 1000)], "2026-11-07T10:00:00Z"),
            0,
            "started in 1970"
        );
        assert_eq!(sent(&machine, &[("eth0", 0, 1500)], "2026-11-07T10:00:05Z"), 500);
        assert_eq!(sent(&machine, &[("eth0", 0, 1600)], "2026-11-07T10:02:00Z"), 600);
        // The machine starts again and has sent more than before by the time we look.
        machine.write("proc/sys/kernel/random/boot_id", "second\n");
        assert_eq!(sent(&machine, &[("eth0", 0, 5000)], "2026-11-07T11:00:00Z"), 5600);
        // An interface made anew counts from nothing; one more is added.
        assert_eq!(sent(&machine, &[("eth0", 0, 40)], "2026-11-07T12:00:00Z"), 5640);
        assert_eq!(
            sent(&machine, &[("eth0", 0, 40), ("eth1", 0, 7)], "2026-11-07T13:00:00Z"),
            5647
        );
        assert_eq!(sent(&machine, &[("eth0", 0, 90), ("eth1", 0, 7)], "2026-12-01T00:00:10Z"), 50);
    }

    #[test]
    fn a_machine_that_started_this_month_brings_what_it_sent() {
        let machine = Machine::bare();
        let started = at("2026-11-01T08:00:00Z").timestamp();
        machine.write(
            "proc/stat",
            &stat(&[(1, 1)]).replace("btime 1000", &format!("btime {started}")),
        );
        assert_eq!(sent(&machine, &[("eth0", 0, 1000)], "2026-11-07T10:00:00Z"), 1000);
    }

    #[test]
    fn a_book_that_makes_no_sense_is_told_and_left() {
        let machine = Machine::bare();
        machine.write("data/transfer.json", "{\"month\":");
        let (root, data) = (machine.root(), machine.path().join("data"));
        let refused = sent_this_month(&root, &data, &BTreeMap::new(), at("2026-11-07T10:00:00Z"));
        assert!(refused.unwrap_err().contains("transfer.json"));
        assert_eq!(std::fs::read_to_string(data.join("transfer.json")).unwrap(), "{\"month\":");
    }

    #[test]
    fn nothing_is_written_where_there_is_no_data_folder() {
        let machine = Machine::bare();
        let (root, data) = (machine.root(), machine.path().join("nowhere"));
        let now = at("2026-11-07T10:00:00Z");
        assert_eq!(sent_this_month(&root, &data, &interfaces(&root).unwrap(), now), Ok(0));
        assert!(!data.exists());
    }

    #[test]
    fn only_what_leads_out_of_the_machine_counts() {
        let machine = Machine::bare();
        machine.write("proc/net/dev", &net(&[("lo", 1, 1), ("eth0", 2, 3), ("docker0", 4, 5)]));
        assert_eq!(
            interfaces(&machine.root()).unwrap().len(),
            2,
            "in a container, all but loopback"
        );
        machine.write("sys/class/net/eth0/device/vendor", "");
        let found = interfaces(&machine.root()).unwrap();
        assert_eq!(found, BTreeMap::from([("eth0".to_owned(), Counted { received: 2, sent: 3 })]));
        for garbage in
            ["", "garbage", "Inter-|\n face |\n eth0: 1 2 3\n", "Inter-|\n face |\n eth0\n"]
        {
            machine.write("proc/net/dev", garbage);
            assert!(interfaces(&machine.root()).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn the_disk_of_a_folder_is_found_by_its_number_or_its_mount() {
        let machine = Machine::bare();
        let device = machine.path().metadata().unwrap().dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let read = || disk_bytes(&machine.root(), machine.path());
        assert_eq!(read(), Ok(None), "no disk of this machine");
        machine
            .write("proc/diskstats", &format!("  {major} {minor} vda 1 0 10 0 1 0 20 0 0 0 0\n"));
        assert_eq!(read(), Ok(Some(30 * 512)));
        machine.write(
            "proc/diskstats",
            "  250 0 other 1 0 1 0 1 0 1 0 0 0 0\n  251 1 vdb1 1 0 10 0 1 0 30 0 0 0 0\n",
        );
        machine.write(
            "proc/self/mountinfo",
            &format!("23 1 {major}:{minor} / / rw - btrfs /dev/vdb1 rw\n"),
        );
        assert_eq!(read(), Ok(Some(40 * 512)));
        machine.write("proc/diskstats", &format!("  {major} {minor} vda 1 0\n"));
        assert!(read().unwrap_err().contains("diskstats"));
    }
}
