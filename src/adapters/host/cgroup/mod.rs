//! The control groups around this process, of both versions and of trees that mix them: what they allow and how much of
//! it is taken (cgroups(7), proc_pid_mountinfo(5)).
//!
//! A limit may stand on our own group or on any around it: all are looked at, the tightest is told. A group without a limit
//! gives no reading. A file that must be there and is not, or that says nothing, is a reason to be blind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::adapters::host::root::{
    HostRoot, Seen, no_sense, number_after, read, read_if_there, read_number,
};

/// Bytes from which a limit of version 1 is none: it writes the largest number of pages instead of a word.
const V1_LIMIT_IS_NONE: u64 = 1 << 60;

/// How much of what a group allows is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Taken {
    pub used: f64,
    pub limit: f64,
}

/// The group that allows the least CPU time, and where its use is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CpuGroup {
    pub cores: f64,
    usage: PathBuf,
    version: Version,
}

/// Our groups in the trees of the three controllers we heed; none where the kernel has none or nothing shows.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    cpu: Option<Tree>,
    /// Only of version 1: it counts the time that `cpu` limits, often in a tree of its own.
    cpuacct: Option<Tree>,
    memory: Option<Tree>,
    pids: Option<Tree>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Our group's folder, then those around it up to the mount.
#[derive(Debug, Clone)]
struct Tree {
    version: Version,
    folders: Vec<PathBuf>,
}

/// A line of mountinfo that mounts a tree of groups.
struct Mount {
    version: Version,
    /// The group that the mount shows as its top.
    group: String,
    at: String,
    controllers: Vec<String>,
}

impl Groups {
    /// Finds the groups of this process.
    pub(super) fn find(root: &HostRoot) -> Seen<Self> {
        let Some(ours) = read_if_there(&root.place("/proc/self/cgroup"))? else {
            return Ok(Self { cpu: None, cpuacct: None, memory: None, pids: None });
        };
        let mounts: Vec<Mount> =
            root.read("/proc/self/mountinfo")?.lines().filter_map(mount).collect();
        let find = |controller| tree(root, &ours, &mounts, controller);
        Ok(Self {
            cpu: find("cpu")?,
            cpuacct: find("cpuacct")?.filter(|tree| tree.version == Version::V1),
            memory: find("memory")?,
            pids: find("pids")?,
        })
    }

    /// The group with the least cores; of equals the outermost, which more processes share. A group around it with more
    /// cores and busy neighbours is not told here: the host's own reading stands for it.
    pub(super) fn cpu(&self) -> Seen<Option<CpuGroup>> {
        let Some(tree) = &self.cpu else { return Ok(None) };
        let mut least: Option<CpuGroup> = None;
        for (height, folder) in tree.folders.iter().enumerate() {
            let quota = match tree.version {
                Version::V1 => quota_v1(folder)?,
                Version::V2 => quota_v2(folder)?,
            };
            let Some(cores) = quota else { continue };
            if least.as_ref().is_none_or(|least| cores <= least.cores) {
                let usage = match tree.version {
                    Version::V1 => self.usage_v1(tree, height)?,
                    Version::V2 => folder.join("cpu.stat"),
                };
                least = Some(CpuGroup { cores, usage, version: tree.version });
            }
        }
        Ok(least)
    }

    /// Where the time of the group at this height is counted.
    fn usage_v1(&self, cpu: &Tree, height: usize) -> Seen<PathBuf> {
        let acct = self.cpuacct.as_ref().ok_or("a CPU limit without `cpuacct`: nothing counts")?;
        // Both trees have their top last; the counting one may have fewer groups.
        let from_top = cpu.folders.len() - height;
        let height = acct.folders.len().saturating_sub(from_top);
        let folder = acct.folders.get(height).ok_or("`cpuacct` has no group of ours")?;
        Ok(folder.join("cpuacct.usage"))
    }

    /// Bytes, without the cache of files that could be dropped at once.
    pub(super) fn memory(&self) -> Seen<Option<Taken>> {
        tightest(self.memory.as_ref(), |version, folder| match version {
            Version::V1 => memory_v1(folder),
            Version::V2 => memory_v2(folder),
        })
    }

    /// Processes, their threads counted.
    pub(super) fn pids(&self) -> Seen<Option<Taken>> {
        tightest(self.pids.as_ref(), |_, folder| {
            let Some(limit) = limit(folder, "pids", "pids.max")? else { return Ok(None) };
            Ok(Some(Taken { used: read_number(&folder.join("pids.current"))? as f64, limit }))
        })
    }
}

impl CpuGroup {
    /// Processor time that all in the group took so far. One small file.
    pub(super) fn busy(&self) -> Seen<Duration> {
        match self.version {
            Version::V1 => read_number(&self.usage).map(Duration::from_nanos),
            Version::V2 => {
                let text = read(&self.usage)?;
                let usage = number_after(&text, "usage_usec");
                usage.map(Duration::from_micros).ok_or_else(|| no_sense(&self.usage, &text))
            }
        }
    }
}

/// The reading with the largest share over all groups of a tree that limit at all.
fn tightest(
    tree: Option<&Tree>,
    taken: impl Fn(Version, &Path) -> Seen<Option<Taken>>,
) -> Seen<Option<Taken>> {
    let mut tightest: Option<Taken> = None;
    for folder in tree.iter().flat_map(|tree| &tree.folders) {
        let version = tree.map_or(Version::V2, |tree| tree.version);
        if let Some(here) = taken(version, folder)?
            && tightest.is_none_or(|it| here.used / here.limit > it.used / it.limit)
        {
            tightest = Some(here);
        }
    }
    Ok(tightest)
}

fn quota_v1(folder: &Path) -> Seen<Option<f64>> {
    let file = folder.join("cpu.cfs_quota_us");
    // A kernel without bandwidth control has no such file in any group.
    let Some(text) = read_if_there(&file)? else { return Ok(None) };
    let quota_us: i64 = text.trim().parse().map_err(|_| no_sense(&file, &text))?;
    if quota_us < 0 {
        return Ok(None);
    }
    let period_us = read_number(&folder.join("cpu.cfs_period_us"))?;
    cores(quota_us as u64, period_us).map(Some).ok_or_else(|| no_sense(&file, &text))
}

fn quota_v2(folder: &Path) -> Seen<Option<f64>> {
    let Some(text) = promised(folder, "cpu", "cpu.max")? else { return Ok(None) };
    let mut words = text.split_whitespace();
    let nonsense = || no_sense(&folder.join("cpu.max"), &text);
    let quota = words.next().ok_or_else(nonsense)?;
    if quota == "max" {
        return Ok(None);
    }
    let (quota, period) = (quota.parse().ok(), words.next().and_then(|it| it.parse().ok()));
    let both = quota.zip(period).and_then(|(quota, period)| cores(quota, period));
    both.map(Some).ok_or_else(nonsense)
}

fn cores(quota_us: u64, period_us: u64) -> Option<f64> {
    (quota_us > 0 && period_us > 0).then(|| quota_us as f64 / period_us as f64)
}

fn memory_v2(folder: &Path) -> Seen<Option<Taken>> {
    let Some(limit) = limit(folder, "memory", "memory.max")? else { return Ok(None) };
    let file = folder.join("memory.stat");
    let stat = read(&file)?;
    let field = |name| {
        number_after(&stat, name).ok_or_else(|| format!("no `{name}` in `{}`", file.display()))
    };
    let (cache, to_write) = (
        field("active_file")? + field("inactive_file")?,
        field("file_dirty")? + field("file_writeback")?,
    );
    let current = read_number(&folder.join("memory.current"))?;
    Ok(Some(Taken { used: current.saturating_sub(cache).saturating_add(to_write) as f64, limit }))
}

fn memory_v1(folder: &Path) -> Seen<Option<Taken>> {
    let file = folder.join("memory.limit_in_bytes");
    // The top of the tree has no limit of its own.
    let Some(text) = read_if_there(&file)? else { return Ok(None) };
    let limit: u64 = text.trim().parse().map_err(|_| no_sense(&file, &text))?;
    if limit >= V1_LIMIT_IS_NONE {
        return Ok(None);
    }
    let file = folder.join("memory.stat");
    let stat = read(&file)?;
    let field = |name| {
        number_after(&stat, name).ok_or_else(|| format!("no `{name}` in `{}`", file.display()))
    };
    let cache = field("total_active_file")? + field("total_inactive_file")?;
    // Kernels without writeback by group do not tell these; they are small.
    let to_write = field("total_dirty").unwrap_or(0) + field("total_writeback").unwrap_or(0);
    let usage = read_number(&folder.join("memory.usage_in_bytes"))?;
    let used = usage.saturating_sub(cache).saturating_add(to_write) as f64;
    Ok(Some(Taken { used, limit: limit as f64 }))
}

/// A limit in a file that holds a number or `max`.
fn limit(folder: &Path, controller: &str, file: &str) -> Seen<Option<f64>> {
    let Some(text) = promised(folder, controller, file)? else { return Ok(None) };
    match text.trim() {
        "max" => Ok(None),
        number => match number.parse::<u64>() {
            Ok(limit) if limit > 0 => Ok(Some(limit as f64)),
            _ => Err(no_sense(&folder.join(file), &text)),
        },
    }
}

/// A controller's file. The top of a tree has none, nor has a group without the controller; in any other group it must be
/// there.
fn promised(folder: &Path, controller: &str, file: &str) -> Seen<Option<String>> {
    let path = folder.join(file);
    if let Some(text) = read_if_there(&path)? {
        return Ok(Some(text));
    }
    if !folder.join("cgroup.type").exists() {
        return Ok(None);
    }
    let controllers = read_if_there(&folder.join("cgroup.controllers"))?.unwrap_or_default();
    if controllers.split_whitespace().any(|it| it == controller) {
        return Err(format!(
            "`{}` is not there, though its group has `{controller}`",
            path.display()
        ));
    }
    Ok(None)
}

/// Our place in the tree of a controller.
fn tree(root: &HostRoot, ours: &str, mounts: &[Mount], controller: &str) -> Seen<Option<Tree>> {
    let lines = || {
        ours.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.split_once(':')
        })
    };
    // A controller that hangs on a tree of version 1 is not in that of version 2.
    let of_v1 = lines().find(|(names, _)| names.split(',').any(|name| name == controller));
    let (version, group) = match of_v1 {
        Some((_, group)) => (Version::V1, group),
        None => match lines().find(|(names, _)| names.is_empty()) {
            Some((_, group)) => (Version::V2, group),
            None => return Ok(None),
        },
    };
    if group.split('/').any(|part| part == "..") {
        return Err(format!("our control group `{group}` lies outside of what shows here"));
    }
    let is_it = |mount: &&Mount| {
        mount.version == version
            && (version == Version::V2 || mount.controllers.iter().any(|name| name == controller))
    };
    let mut fitting = mounts.iter().filter(is_it).peekable();
    if fitting.peek().is_none() {
        // Without a mount, only the top can be taken for what it seems: a machine that limits nothing.
        return if group == "/" {
            Ok(None)
        } else {
            Err(format!("no mount shows our control group `{group}`"))
        };
    }
    for mount in fitting {
        let Some(below) = below(&mount.group, group) else { continue };
        let top = root.place(&mount.at);
        let folder = top.join(below);
        if folder.is_dir() {
            let folders = folder.ancestors().take_while(|it| it.starts_with(&top));
            let folders = folders.map(Path::to_path_buf).collect();
            return Ok(Some(Tree { version, folders }));
        }
    }
    Err(format!("our control group `{group}` is in no mount of `{controller}`"))
}

/// A group's path below the one a mount shows as its top. In a container the mount may show our own group as the host
/// names it, while we are told that we are at the top: then the mount is ours.
fn below<'a>(top: &str, group: &'a str) -> Option<&'a str> {
    if group == "/" {
        return Some("");
    }
    let rest = group.strip_prefix(top.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
}

/// A line such as `30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate`.
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut kind = after.split(' ');
    let version = match kind.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let options = kind.nth(1).unwrap_or_default();
    let mut fields = before.split(' ').skip(3);
    Some(Mount {
        version,
        group: unescaped(fields.next()?),
        at: unescaped(fields.next()?),
        controllers: options.split(',').map(str::to_owned).collect(),
    })
}

/// Spaces and backslashes of a path stand in octal.
fn unescaped(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

#[cfg(test)]
mod tests;
