//! The processes that work on our data folder, and what each takes.
//!
//! A spark is known by its program and its first word, and as ours by a file it holds open in the data folder (every role
//! locks one there) or by a parent that is ours. The private PostgreSQL is known by the process id it writes down.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

use crate::adapters::host::root::{HostRoot, number_after};
use crate::ports::PortError;
use crate::ports::host::{ProcessMemory, Tenant, TenantRole, Tenants};

/// Our program, unless it bears another name.
const PROGRAM: &str = "spark";
/// What the kernel adds to the name of a program that was replaced while it runs.
const REPLACED: &str = " (deleted)";

/// The tenants of a data folder.
pub struct LinuxTenants {
    root: HostRoot,
    data: PathBuf,
    /// When the look before was, and the CPU milliseconds of each process then.
    before: Mutex<Option<(Instant, BTreeMap<Process, u64>)>>,
}

/// A process, told from a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: u32,
    started_s: u64,
}

/// What is looked at to know a process.
#[derive(Debug)]
struct Suspect {
    process: Process,
    parent: Option<u32>,
    program: String,
    words: Vec<String>,
    cpu_ms: u64,
}

impl LinuxTenants {
    /// Looks for the tenants of this data folder.
    pub fn new(root: HostRoot, data: PathBuf) -> Self {
        Self { root, data, before: Mutex::default() }
    }

    /// Whether a process holds a file of the data folder open. Those of other accounts do not show.
    fn works_here(&self, pid: u32, data: &Path) -> bool {
        let open = std::fs::read_dir(self.root.place(&format!("/proc/{pid}/fd")));
        let mut files = open.into_iter().flatten().flatten();
        files.any(|file| std::fs::read_link(file.path()).is_ok_and(|it| it.starts_with(data)))
    }

    /// The process that the private server wrote down.
    fn postmaster(&self) -> Option<u32> {
        let own = self.data.join("postgres");
        let home = std::fs::read_to_string(own.join("home"));
        let home = home.map_or(own, |text| PathBuf::from(text.trim_end_matches('\n')));
        let text = std::fs::read_to_string(home.join("pgdata/postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Memory and threads; none when it ended meanwhile.
    fn memory(&self, pid: u32) -> Option<(ProcessMemory, u64)> {
        let status = self.root.read(&format!("/proc/{pid}/status")).ok()?;
        let bytes = |field: &str| number_after(&status, field).map(|kib| kib * 1024);
        let memory = ProcessMemory { resident: bytes("VmRSS:")?, anonymous: bytes("RssAnon:")? };
        Some((memory, number_after(&status, "Threads:")?))
    }
}

impl Tenants for LinuxTenants {
    fn list(&self) -> Result<Vec<Tenant>, PortError> {
        // Made anew each time: one that is kept holds a file of every process open.
        let suspects = suspects()?;
        let data = std::fs::canonicalize(&self.data).unwrap_or_else(|_| self.data.clone());
        let own = std::env::current_exe().ok();
        let own = own.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
        let families = families(&suspects, own.unwrap_or(PROGRAM), self.postmaster(), |pid| {
            self.works_here(pid, &data)
        });
        let now = Instant::now();
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted = BTreeMap::new();
        let mut tenants = Vec::new();
        for (role, family) in families {
            let (mut busy_ms, mut memory, mut threads) = (None, ProcessMemory::default(), 0);
            let mut shared_max = 0;
            for suspect in &family {
                let Some((held, its_threads)) = self.memory(suspect.process.pid) else { continue };
                counted.insert(suspect.process, suspect.cpu_ms);
                let its_before = before.as_ref().and_then(|(_, all)| all.get(&suspect.process));
                if let Some(its_before) = its_before {
                    *busy_ms.get_or_insert(0) += suspect.cpu_ms.saturating_sub(*its_before);
                }
                memory.anonymous += held.anonymous;
                shared_max = shared_max.max(held.resident.saturating_sub(held.anonymous));
                threads += its_threads;
            }
            let Some(first) = family.first().filter(|_| threads > 0) else { continue };
            memory.resident = memory.anonymous + shared_max;
            let elapsed_s = before.as_ref().map(|(at, _)| (now - *at).as_secs_f64());
            let cores = busy_ms.zip(elapsed_s.filter(|seconds| *seconds > 0.0));
            let cores = cores.map(|(ms, seconds): (u64, f64)| ms as f64 / 1000.0 / seconds);
            tenants.push(Tenant { role, pid: first.process.pid, cores, memory, threads });
        }
        *before = Some((now, counted));
        tenants.sort_by_key(|tenant| (tenant.role, tenant.pid));
        Ok(tenants)
    }
}

/// Every process of the machine.
fn suspects() -> Result<Vec<Suspect>, PortError> {
    let mut system =
        System::new().map_err(|error| PortError::plain(format!("list processes: {error:?}")))?;
    let what = ProcessRefreshKind::nothing()
        .without_tasks()
        .with_cpu()
        .with_cmd(UpdateKind::Always)
        .with_exe(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    let all = system.processes().values().map(|process| {
        let program = process.exe().and_then(Path::file_name).unwrap_or(process.name());
        Suspect {
            process: Process { pid: process.pid().as_u32(), started_s: process.start_time() },
            parent: process.parent().map(sysinfo::Pid::as_u32),
            program: program.to_string_lossy().trim_end_matches(REPLACED).to_owned(),
            words: process.cmd().iter().map(|word| word.to_string_lossy().into_owned()).collect(),
            cpu_ms: process.accumulated_cpu_time(),
        }
    });
    Ok(all.collect())
}

/// Who is ours and in which role; every spark a family of its own, the database one with all its processes.
fn families<'a>(
    suspects: &'a [Suspect],
    own_program: &str,
    postmaster: Option<u32>,
    works_here: impl Fn(u32) -> bool,
) -> Vec<(TenantRole, Vec<&'a Suspect>)> {
    let is_spark = |it: &&Suspect| [own_program, PROGRAM].contains(&it.program.as_str());
    let sparks: Vec<&Suspect> = suspects.iter().filter(is_spark).collect();
    let mut ours: BTreeSet<u32> = BTreeSet::new();
    ours.extend(sparks.iter().map(|it| it.process.pid).filter(|pid| works_here(*pid)));
    // Renderers and demuxers hold nothing of the folder themselves; their parents do.
    loop {
        let of_ours = |it: &&&Suspect| it.parent.is_some_and(|parent| ours.contains(&parent));
        let children: Vec<u32> = sparks.iter().filter(of_ours).map(|it| it.process.pid).collect();
        let known = ours.len();
        ours.extend(children);
        if ours.len() == known {
            break;
        }
    }
    let asks = std::process::id();
    let sparks = sparks.into_iter().filter(|it| ours.contains(&it.process.pid));
    let mut families: Vec<(TenantRole, Vec<&Suspect>)> = sparks
        .map(|it| (role(&it.words), vec![it]))
        // Who only asks is no tenant.
        .filter(|(role, it)| *role != TenantRole::Command || it[0].process.pid != asks)
        .collect();
    // A number that was written down before a crash may be somebody else's by now.
    let postmaster = suspects
        .iter()
        .find(|it| Some(it.process.pid) == postmaster && it.program.starts_with("postgres"));
    if let Some(postmaster) = postmaster {
        let children = suspects.iter().filter(|it| it.parent == Some(postmaster.process.pid));
        let family = std::iter::once(postmaster).chain(children).collect();
        families.push((TenantRole::Database, family));
    }
    families
}

/// The role that the words of a command line name: the first that is one.
fn role(words: &[String]) -> TenantRole {
    let roles = [
        TenantRole::Serve,
        TenantRole::Record,
        TenantRole::Listen,
        TenantRole::Work,
        TenantRole::Render,
        TenantRole::Demux,
    ];
    // Flags and their values may stand before the role, never a role's word after another command.
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if ["--data", "--config"].contains(&word.as_str()) {
            words.next();
        } else if !word.starts_with('-') {
            let found = roles.into_iter().find(|role| role.as_str() == word);
            return found.unwrap_or(TenantRole::Command);
        }
    }
    TenantRole::Command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(pid: u32, parent: u32, program: &str, words: &str) -> Suspect {
        Suspect {
            process: Process { pid, started_s: 1 },
            parent: Some(parent),
            program: program.into(),
            words: words.split(' ').map(str::to_owned).collect(),
            cpu_ms: 0,
        }
    }

    #[test]
    fn ours_are_told_from_those_of_another_folder() {
        let suspects = [
            suspect(10, 1, "spark", "spark serve"),
            suspect(11, 1, "spark", "/usr/bin/spark record --data /a"),
            suspect(12, 10, "spark", "spark render"),
            suspect(13, 11, "spark", "spark demux 11"),
            suspect(14, 1, "spark", "spark --data /a import --week render"),
            suspect(20, 1, "spark", "spark serve --data /b"),
            suspect(21, 20, "spark", "spark render"),
            suspect(30, 1, "vim", "vim serve"),
            suspect(40, 10, "postgres", "postgres -D x"),
            suspect(41, 40, "postgres", "postgres: checkpointer"),
            suspect(42, 1, "postgres", "postgres -D y"),
        ];
        let here = [10, 11, 14, 30];
        let found = families(&suspects, "spark", Some(40), |pid| here.contains(&pid));
        let found: Vec<(TenantRole, Vec<u32>)> = found
            .iter()
            .map(|(role, family)| (*role, family.iter().map(|it| it.process.pid).collect()))
            .collect();
        assert_eq!(
            found,
            [
                (TenantRole::Serve, vec![10]),
                (TenantRole::Record, vec![11]),
                (TenantRole::Render, vec![12]),
                (TenantRole::Demux, vec![13]),
                (TenantRole::Command, vec![14]),
                (TenantRole::Database, vec![40, 41]),
            ]
        );
    }

    #[test]
    fn a_number_that_is_no_postgres_any_more_is_no_database() {
        let suspects = [suspect(40, 1, "sshd", "sshd")];
        assert!(families(&suspects, "spark", Some(40), |_| true).is_empty());
    }

    #[test]
    fn a_process_that_works_in_the_folder_is_seen_with_what_it_takes() {
        let folder = tempfile::tempdir().unwrap();
        let _held = std::fs::File::create(folder.path().join("serve.lock")).unwrap();
        let data = std::fs::canonicalize(folder.path()).unwrap();
        let tenants = LinuxTenants::new(HostRoot::default(), data.clone());
        assert!(tenants.works_here(std::process::id(), &data));
        assert!(!tenants.works_here(std::process::id(), Path::new("/nowhere")));
        let (memory, threads) = tenants.memory(std::process::id()).unwrap();
        assert!(memory.resident >= memory.anonymous && memory.anonymous > 0 && threads > 0);
        // A test program has no role of its own, and who only asks is no tenant.
        assert_eq!(tenants.list().unwrap(), []);
    }
}
