//! Processor time: of the machine, of the control group that limits us, of the plan (proc_stat(5)).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::adapters::host::cgroup::{CpuGroup, Groups};
use crate::adapters::host::root::{HostRoot, Seen};
use crate::domain::resources::Scope;
use crate::ports::PortError;
use crate::ports::host::{CpuClock, CpuTime};

/// The kernel counts in hundredths of a second on every machine we run on.
const TICK_MS: u64 = 10;
/// How long what seldom changes is believed: our control group, its quota, the cores we may use.
const PLACE_HOLDS: Duration = Duration::from_secs(10);
/// Counters that stand still for longer are no counters: even an idle machine counts its idle time.
const STANDS_STILL_MAX: Duration = Duration::from_secs(1);

/// Counts the processor time of the host, of the control group and of the plan. Looked at often: a look reads one file of the host
/// and one of the control group.
pub struct LinuxCpuClock {
    root: HostRoot,
    plan_cores: Option<f64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    place: Option<Place>,
    /// All time counted, idle too, and since when it has not changed.
    counted: Option<(u64, Instant)>,
}

/// What is looked up now and then.
struct Place {
    found: Instant,
    allowed: Seen<Vec<usize>>,
    group: Seen<Option<CpuGroup>>,
}

/// One look.
pub(super) struct CpuLook {
    /// The host, then the plan.
    pub host: Seen<Vec<CpuTime>>,
    pub group: Seen<Option<CpuTime>>,
}

impl LinuxCpuClock {
    /// Reads below `root`; `plan_cores` are those of the hosting plan, if one is known.
    pub fn new(root: HostRoot, plan_cores: Option<f64>) -> Self {
        Self { root, plan_cores, state: Mutex::default() }
    }

    /// The same as [`CpuClock::cpu`], with the reasons for what was not seen.
    pub(super) fn look(&self) -> CpuLook {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_old = |place: &Place| now - place.found >= PLACE_HOLDS;
        if state.place.as_ref().is_none_or(is_old) {
            state.place = Some(Place {
                found: now,
                allowed: allowed(&self.root),
                group: Groups::find(&self.root).and_then(|groups| groups.cpu()),
            });
        }
        let place = state.place.as_ref().map(|place| (place.allowed.clone(), place.group.clone()));
        let (allowed, group) = place.unwrap_or((Ok(Vec::new()), Ok(None)));
        let group = group.and_then(|group| {
            let Some(group) = group else { return Ok(None) };
            Ok(Some(CpuTime { scope: Scope::Cgroup, busy: group.busy()?, cores: group.cores }))
        });
        if group.is_err() {
            // The group may have been made anew.
            state.place = None;
        }
        CpuLook { host: self.host(&mut state, allowed, now), group }
    }

    fn host(
        &self,
        state: &mut State,
        allowed: Seen<Vec<usize>>,
        now: Instant,
    ) -> Seen<Vec<CpuTime>> {
        let ticks = ticks(&self.root.read("/proc/stat")?, &allowed?)
            .ok_or_else(|| "`/proc/stat` makes no sense".to_owned())?;
        let since = match state.counted {
            Some((all, since)) if all == ticks.all => since,
            _ => now,
        };
        state.counted = Some((ticks.all, since));
        if ticks.all == 0 || now - since > STANDS_STILL_MAX {
            return Err("the counters of `/proc/stat` stand still".to_owned());
        }
        let busy = Duration::from_millis(ticks.busy.saturating_mul(TICK_MS));
        let host = CpuTime { scope: Scope::Host, busy, cores: ticks.cores };
        let plan = self.plan_cores.map(|cores| CpuTime { scope: Scope::Plan, busy, cores });
        Ok([Some(host), plan].into_iter().flatten().collect())
    }
}

impl CpuClock for LinuxCpuClock {
    fn cpu(&self) -> Result<Vec<CpuTime>, PortError> {
        let CpuLook { host, group } = self.look();
        let mut rows = host.map_err(PortError::plain)?;
        // What is not seen here is told by the meters, which look at the same files.
        rows.extend(group.unwrap_or_default());
        Ok(rows)
    }
}

/// What the cores we may use counted so far, in ticks.
#[derive(Debug, PartialEq)]
struct Ticks {
    busy: u64,
    /// With idle time.
    all: u64,
    cores: f64,
}

/// Sums up the cores we may use. Some containers number theirs anew: when fewer show than are allowed, all that show are ours.
fn ticks(stat: &str, allowed: &[usize]) -> Option<Ticks> {
    let mut whole = None;
    let mut cores = Vec::new();
    // The lines of the cores stand first, and each begins so.
    for line in stat.lines().map_while(|line| line.strip_prefix("cpu")) {
        let (number, counters) = line.split_once(' ')?;
        let counted = counted(counters)?;
        if number.is_empty() {
            whole = Some(counted);
        } else {
            cores.push((number.parse::<usize>().ok()?, counted));
        }
    }
    let (whole, online) = (whole?, cores.len());
    let ours = cores.iter().filter(|(number, _)| allowed.contains(number));
    let (count, busy, all) =
        ours.fold((0, 0, 0), |sum, (_, (busy, all))| (sum.0 + 1, sum.1 + busy, sum.2 + all));
    if count == allowed.len() && count < online && count > 0 {
        return Some(Ticks { busy, all, cores: count as f64 });
    }
    (online > 0).then_some(Ticks { busy: whole.0, all: whole.1, cores: online as f64 })
}

/// Busy ticks and all ticks of a line: user, nice, system, idle, iowait, irq, softirq, steal. Guests are in user already.
fn counted(counters: &str) -> Option<(u64, u64)> {
    let counters: Vec<u64> =
        counters.split_whitespace().map(|it| it.parse().ok()).collect::<Option<_>>()?;
    let [user, nice, system, idle, iowait, irq, softirq, ref rest @ ..] = counters[..] else {
        return None;
    };
    let busy = user + nice + system + irq + softirq + rest.first().copied().unwrap_or(0);
    Some((busy, busy + idle + iowait))
}

/// The numbers of the cores this process may use.
fn allowed(root: &HostRoot) -> Seen<Vec<usize>> {
    let status = root.read("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cores = list.and_then(|list| {
        let mut cores = Vec::new();
        for span in list.trim().split(',') {
            let (first, last) = span.split_once('-').unwrap_or((span, span));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            cores.extend((first..=last).take(CORES_MAX));
        }
        Some(cores)
    });
    cores.ok_or_else(|| "`/proc/self/status` does not name the cores we may use".to_owned())
}

/// More cores than any machine has, so that a strange list takes no memory.
const CORES_MAX: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::host::root::fixture::{Machine, stat};

    fn clock(machine: &Machine, plan_cores: Option<f64>) -> LinuxCpuClock {
        LinuxCpuClock::new(machine.root(), plan_cores)
    }

    #[test]
    fn busy_is_all_but_idle_and_waiting_for_a_disk() {
        let text = "cpu  1 2 4 1000 1000 8 16 32 5 5\ncpu0 1 2 4 1000 1000 8 16 32 5 5\nintr 9\n";
        assert_eq!(ticks(text, &[0]), Some(Ticks { busy: 63, all: 2063, cores: 1.0 }));
        for garbage in [
            "",
            "cpu\n",
            "cpu  1 2 3\ncpu0 1 2 3\n",
            "cpu  a b c d e f g\n",
            "cpu  1 2 3 4 5 6 7\n",
        ] {
            assert_eq!(ticks(garbage, &[0]), None, "{garbage:?}");
        }
    }

    #[test]
    fn only_the_cores_we_may_use_count() {
        let text = stat(&[(100, 0), (20, 80), (3, 97), (50, 50)]);
        assert_eq!(ticks(&text, &[1, 2]), Some(Ticks { busy: 23, all: 200, cores: 2.0 }));
        assert_eq!(ticks(&text, &[0, 1, 2, 3]).map(|it| it.cores), Some(4.0));
        // A container with four cores of sixteen, numbered anew.
        assert_eq!(ticks(&text, &[8, 9, 10, 11]).map(|it| it.cores), Some(4.0));
    }

    #[test]
    fn host_plan_and_group_have_a_row_each() {
        let machine = Machine::bare();
        machine.in_v2_leaf().group("work", "cpu.max", "100000 100000\n");
        let rows = clock(&machine, Some(1.5)).cpu().unwrap();
        let row =
            |scope, busy_s, cores| CpuTime { scope, busy: Duration::from_secs(busy_s), cores };
        assert_eq!(
            rows,
            [row(Scope::Host, 2, 2.0), row(Scope::Plan, 2, 1.5), row(Scope::Cgroup, 5, 1.0)]
        );
    }

    #[test]
    fn a_host_that_is_not_seen_is_an_error_and_a_group_that_is_not_seen_has_no_row() {
        let machine = Machine::bare();
        machine.in_v2_leaf().group("work", "cpu.max", "garbage\n");
        assert_eq!(clock(&machine, None).cpu().unwrap().len(), 1);
        machine.write("proc/stat", &stat(&[(0, 0), (0, 0)]));
        assert!(clock(&machine, None).cpu().unwrap_err().chain().contains("stand still"));
        machine.write("proc/stat", "garbage\n");
        assert!(clock(&machine, None).cpu().is_err());
        machine.remove("proc/stat");
        assert!(clock(&machine, None).cpu().unwrap_err().chain().contains("proc/stat"));
    }

    #[test]
    fn a_group_made_anew_is_found_again() {
        let machine = Machine::bare();
        machine.in_v2_leaf().group("work/spark", "cpu.max", "100000 100000\n");
        let clock = clock(&machine, None);
        assert_eq!(clock.cpu().unwrap().len(), 2);
        machine.remove("sys/fs/cgroup/work/spark/cpu.stat");
        assert_eq!(clock.cpu().unwrap().len(), 1);
        machine.write("proc/self/cgroup", "0::/work\n").group("work", "cpu.max", "50000 100000\n");
        assert_eq!(clock.cpu().unwrap().get(1).map(|it| it.cores), Some(0.5));
    }

    #[test]
    fn work_on_this_machine_shows() {
        let clock = LinuxCpuClock::new(HostRoot::default(), None);
        let (before, begun) = (clock.cpu().unwrap()[0], Instant::now());
        while begun.elapsed() < Duration::from_millis(500) {
            std::hint::spin_loop();
        }
        let after = clock.cpu().unwrap()[0];
        assert!(after.cores >= 1.0 && after.busy >= before.busy + Duration::from_millis(100));
    }
}
