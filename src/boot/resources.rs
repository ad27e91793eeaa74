//! `spark resources`: how full the machine is against the 80 % line, and who takes what.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::adapters::clock::SystemClock;
use crate::adapters::host::{
    HostRoot, InjectedCpuClock, InjectedMeters, LinuxCpuClock, LinuxMeters, LinuxTenants,
};
use crate::boot::cli::ResourcesArgs;
use crate::boot::config::Config;
use crate::boot::serve::StopSignal;
use crate::domain::resources::plan::{Disagreement, Plan, disagreements};
use crate::domain::resources::{CEILING, Reading, Resource, Sample};
use crate::ports::clock::Clock;
use crate::ports::host::{CpuClock, Meters, Tenant, Tenants};

/// How often `--watch` looks, and over how long rates are taken.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Characters of a bar.
const BAR: usize = 30;
/// Takes a terminal to its first line and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What watches the machine.
pub(crate) struct Watch {
    pub meters: Arc<dyn Meters>,
    pub cpu_clock: Arc<dyn CpuClock>,
    pub tenants: Arc<dyn Tenants>,
}

impl Watch {
    /// The meters of this machine under the plan of the settings, or what the settings inject.
    pub(crate) fn open(config: &Config, clock: &Arc<dyn Clock>) -> Self {
        let (root, data) = (HostRoot::default(), config.data.folder.clone());
        let plan = config.resources.plan.plan().cloned();
        let cores = plan.as_ref().and_then(|plan| plan.cores);
        let cpu = Arc::new(LinuxCpuClock::new(root.clone(), cores));
        let tenants = Arc::new(LinuxTenants::new(root.clone(), data.clone()));
        let meters = Arc::new(LinuxMeters::new(root, data, plan, cpu.clone(), clock.clone()));
        match config.resources.injected.clone() {
            None => Self { meters, cpu_clock: cpu, tenants },
            Some(file) => Self {
                meters: Arc::new(InjectedMeters::new(meters, file.clone())),
                cpu_clock: Arc::new(InjectedCpuClock::new(cpu, file)),
                tenants,
            },
        }
    }
}

/// One look, as `--json` tells it.
#[derive(Serialize)]
struct Look {
    #[serde(flatten)]
    sample: Sample,
    disagreements: Vec<Disagreement>,
    tenants: Vec<Tenant>,
}

/// Prints one look, or one a second until Ctrl-C.
pub(crate) async fn resources(config: &Config, args: &ResourcesArgs) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let watch = Watch::open(config, &clock);
    let plan = config.resources.plan.plan();
    // The first look only begins the rates.
    watch.tenants.list()?;
    let mut stop = std::pin::pin!(StopSignal::listen()?.arrived());
    let clears = args.watch && !args.json && std::io::stdout().is_terminal();
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let (sample, tenants) = (watch.meters.read(), watch.tenants.list()?);
        let disagreements = plan.map(|plan| disagreements(plan, &sample)).unwrap_or_default();
        let look = Look { sample, disagreements, tenants };
        let page = if args.json { serde_json::to_string(&look)? } else { page(&look, plan) };
        let mut out = std::io::stdout().lock();
        let shown =
            writeln!(out, "{}{page}", if clears { CLEAR } else { "" }).and_then(|()| out.flush());
        match shown {
            // Whoever read us has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            shown => shown?,
        }
        if !args.watch {
            return Ok(());
        }
    }
}

/// Where plan and machine differ, a sentence each.
pub(crate) fn told_disagreements(disagreements: &[Disagreement]) -> Vec<String> {
    let told = disagreements.iter().map(|it| {
        let (planned, detected) =
            (amount(it.resource, it.planned), amount(it.resource, it.detected));
        format!(
            "{}: the plan promises {planned}, this machine has {detected}",
            it.resource.as_str()
        )
    });
    told.collect()
}

fn page(look: &Look, plan: Option<&Plan>) -> String {
    let mut page = format!(
        "{}   plan: {}\n\n",
        look.sample.at.format("%Y-%m-%d %H:%M:%S UTC"),
        plan.map_or("none, as detected", |plan| &plan.name)
    );
    for resource in Resource::ALL {
        if let Some(line) = line(&look.sample, resource) {
            _ = writeln!(page, "  {:<13}{line}", resource.as_str());
        }
        for blind in look.sample.blind.iter().filter(|it| it.resource == resource) {
            let (word, scope) = (resource.as_str(), blind.scope.as_str());
            _ = writeln!(page, "  {word:<13}BLIND in the eyes of {scope}: {}", blind.why);
        }
    }
    for told in told_disagreements(&look.disagreements) {
        _ = writeln!(page, "\n  PLAN DISAGREES  {told}");
    }
    _ = writeln!(
        page,
        "\n  {:<10}{:>8}{:>8}{:>10}{:>11}{:>9}",
        "who", "pid", "cores", "resident", "anonymous", "threads"
    );
    for tenant in &look.tenants {
        let cores = tenant.cores.map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2}"));
        let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
        _ = writeln!(
            page,
            "  {:<10}{:>8}{cores:>8}{:>10}{:>11}{:>9}",
            tenant.role.as_str(),
            tenant.pid,
            megabytes(tenant.memory.resident),
            megabytes(tenant.memory.anonymous),
            tenant.threads
        );
    }
    if look.tenants.is_empty() {
        page += "  nobody: no spark that shows works on this data folder\n";
    }
    page
}

/// A resource's line: its share in the tightest scope, then what other scopes say.
fn line(sample: &Sample, resource: Resource) -> Option<String> {
    let Some(tightest) = sample.tightest(resource) else {
        let uncapped = sample.uncapped.iter().find(|it| it.resource == resource)?;
        let used = amount(resource, uncapped.used);
        return Some(format!("[{}]    -  {used}, of an unknown capacity", " ".repeat(BAR)));
    };
    let over = if tightest.ratio() > CEILING { "  OVER 80 %" } else { "" };
    let percent = |reading: &Reading| format!("{:.0} %", reading.ratio() * 100.0);
    let mut line = format!(
        "[{}]{:>6}  {} of {}, {}{over}",
        bar(tightest.ratio()),
        percent(tightest),
        amount(resource, tightest.used),
        amount(resource, tightest.capacity),
        tightest.scope.as_str()
    );
    let others =
        sample.readings.iter().filter(|it| it.resource == resource && it.scope != tightest.scope);
    let others: Vec<String> =
        others.map(|it| format!("{} {}", it.scope.as_str(), percent(it))).collect();
    if !others.is_empty() {
        _ = write!(line, "  ({})", others.join(", "));
    }
    Some(line)
}

/// A bar with a mark at the line that is not crossed.
fn bar(ratio: f64) -> String {
    let (full, line) = ((ratio * BAR as f64).round() as usize, (CEILING * BAR as f64) as usize);
    let sign = |place| match place {
        place if place < full => '#',
        place if place == line => '|',
        _ => '.',
    };
    (0..BAR).map(sign).collect()
}

/// An amount in a unit that people read.
fn amount(resource: Resource, amount: f64) -> String {
    match resource {
        Resource::Cpu => format!("{amount:.2} cores"),
        Resource::Memory | Resource::Disk | Resource::Transfer => scaled(amount, "B"),
        Resource::DiskRate => scaled(amount, "B/s"),
        Resource::NetworkRate => scaled(amount, "bit/s"),
        Resource::Processes => format!("{amount:.0} threads"),
        Resource::Inodes | Resource::Files | Resource::Connections => format!("{amount:.0}"),
        Resource::QueueWait => format!("{:.0} ms", amount * 1000.0),
    }
}

fn scaled(amount: f64, unit: &str) -> String {
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match steps.into_iter().find(|(step, _)| amount >= *step) {
        Some((step, prefix)) => format!("{:.1} {prefix}{unit}", amount / step),
        None => format!("{amount:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::resources::{Blind, Scope, Uncapped};
    use crate::ports::host::{ProcessMemory, TenantRole};

    fn reading(resource: Resource, scope: Scope, used: f64, capacity: f64) -> Reading {
        Reading { resource, scope, used, capacity }
    }

    #[test]
    fn a_look_reads_from_the_tightest_scope_to_who_takes_what() {
        let sample = Sample {
            at: DateTime::UNIX_EPOCH,
            readings: vec![
                reading(Resource::Cpu, Scope::Host, 1.0, 8.0),
                reading(Resource::Cpu, Scope::Cgroup, 1.0, 2.0),
                reading(Resource::Disk, Scope::Host, 90e9, 100e9),
            ],
            blind: vec![Blind {
                resource: Resource::Memory,
                scope: Scope::Host,
                why: "it is dark".to_owned(),
            }],
            uncapped: vec![Uncapped { resource: Resource::NetworkRate, used: 1_250_000.0 }],
        };
        let disagreements =
            vec![Disagreement { resource: Resource::Disk, planned: 200e9, detected: 100e9 }];
        let memory = ProcessMemory { resident: 90_000_000, anonymous: 30_000_000 };
        let tenants =
            vec![Tenant { role: TenantRole::Serve, pid: 7, cores: Some(0.25), memory, threads: 9 }];
        let page = page(&Look { sample, disagreements, tenants }, None);
        let expected = "\
1970-01-01 00:00:00 UTC   plan: none, as detected

  cpu          [###############.........|.....]  50 %  1.00 cores of 2.00 cores, cgroup  (host 12 %)
  memory       BLIND in the eyes of host: it is dark
  disk         [###########################...]  90 %  90.0 GB of 100.0 GB, host  OVER 80 %
  network_rate [                              ]    -  1.2 Mbit/s, of an unknown capacity

  PLAN DISAGREES  disk: the plan promises 200.0 GB, this machine has 100.0 GB

  who            pid   cores  resident  anonymous  threads
  serve            7    0.25     90 MB      30 MB        9
";
        assert_eq!(page, expected);
    }

    #[test]
    fn a_bar_stays_within_its_length() {
        for ratio in [0.0, 0.79, 0.8, 1.0, 40.0, f64::NAN, f64::INFINITY] {
            assert_eq!(bar(ratio).chars().count(), BAR, "{ratio}");
        }
    }
}
