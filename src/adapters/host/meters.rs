//! All meters of the machine in one look.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::adapters::host::cgroup::Groups;
use crate::adapters::host::cpu::{CpuLook, LinuxCpuClock};
use crate::adapters::host::root::{HostRoot, Seen};
use crate::adapters::host::space::{self, Used};
use crate::adapters::host::traffic::{self, Counted};
use crate::domain::resources::plan::Plan;
use crate::domain::resources::{Blind, Reading, Resource, Sample, Scope, Uncapped};
use crate::ports::clock::Clock;
use crate::ports::host::{CpuTime, Meters};

/// Shortest time over which a rate is taken: the kernel counts processor time in steps of 10 ms. Who looks again sooner gets
/// the rates of the look before.
const WINDOW_MIN: Duration = Duration::from_millis(200);

/// The meters of a Linux machine. Rates are taken since it was made or last read.
pub struct LinuxMeters {
    root: HostRoot,
    data: PathBuf,
    plan: Option<Plan>,
    cpu: Arc<LinuxCpuClock>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    counters: Counters,
    /// None until a first window has passed.
    rates: Option<Rates>,
}

/// What counts up without end.
struct Counters {
    at: Instant,
    cpu: Vec<CpuTime>,
    disk: Option<u64>,
    interfaces: Option<BTreeMap<String, Counted>>,
}

/// What the counters of two looks tell.
struct Rates {
    /// Cores kept busy, and how many there are.
    cpu: Vec<(Scope, Used)>,
    cpu_blind: Vec<(Scope, String)>,
    /// Bytes a second, unless no disk of ours is behind the data folder.
    disk: Seen<Option<f64>>,
    /// Bits a second.
    network: Seen<Option<f64>>,
}

impl LinuxMeters {
    /// Meters of this machine, for a data folder that need not exist yet; `cpu` is shared with whom governs the renders.
    pub fn new(
        root: HostRoot,
        data: PathBuf,
        plan: Option<Plan>,
        cpu: Arc<LinuxCpuClock>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (counters, _) = count(&root, &data, &cpu);
        Self { root, data, plan, cpu, clock, state: Mutex::new(State { counters, rates: None }) }
    }

    /// Writes the rates into a sample.
    fn tell_rates(&self, state: &mut State, sample: &mut Told<'_>) {
        if state.counters.at.elapsed() >= WINDOW_MIN {
            let (now, blind) = count(&self.root, &self.data, &self.cpu);
            state.rates = Some(rates(&state.counters, &now, blind));
            state.counters = now;
        }
        let Some(rates) = &state.rates else { return };
        for (scope, used) in &rates.cpu {
            sample.see(Resource::Cpu, *scope, Ok(Some(*used)));
        }
        for (scope, why) in &rates.cpu_blind {
            sample.see(Resource::Cpu, *scope, Err(why.clone()));
        }
        sample.see_uncapped(Resource::DiskRate, rates.disk.clone());
        sample.see_uncapped(Resource::NetworkRate, rates.network.clone());
    }
}

impl Meters for LinuxMeters {
    fn read(&self) -> Sample {
        let at = self.clock.now();
        let sample = Sample { at, readings: Vec::new(), blind: Vec::new(), uncapped: Vec::new() };
        let mut told = Told { sample, plan: self.plan.as_ref() };
        // One at a time: two would write the month's account at once.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell_rates(&mut state, &mut told);
        told.see_host(Resource::Memory, space::memory(&self.root));
        let disk = space::disk(&self.data);
        let inodes = disk.as_ref().map(|disk| disk.inodes).map_err(Clone::clone);
        told.see_host(Resource::Disk, disk.map(|disk| disk.bytes));
        match inodes {
            Ok(Some(inodes)) => told.see_host(Resource::Inodes, Ok(inodes)),
            Ok(None) => {}
            Err(why) => told.see(Resource::Inodes, Scope::Host, Err(why)),
        }
        told.see(Resource::Processes, Scope::Host, space::threads(&self.root).map(Some));
        match space::account(&self.root) {
            Ok(account) => {
                let of = |limit: Option<f64>| Ok(limit.map(|limit| (account.threads, limit)));
                told.see(Resource::Processes, Scope::Process, of(account.limit));
                // Sellers count the threads of an account, not those of the machine around it.
                let planned = told.planned(Resource::Processes);
                told.see(Resource::Processes, Scope::Plan, of(planned));
            }
            Err(why) => told.see(Resource::Processes, Scope::Process, Err(why)),
        }
        told.see(Resource::Files, Scope::Process, space::files(&self.root));
        let sent = traffic::interfaces(&self.root)
            .and_then(|all| traffic::sent_this_month(&self.root, &self.data, &all, at));
        told.see_uncapped(Resource::Transfer, sent.map(|bytes| Some(bytes as f64)));
        match Groups::find(&self.root) {
            Ok(groups) => {
                let used = |it: crate::adapters::host::cgroup::Taken| (it.used, it.limit);
                told.see(Resource::Memory, Scope::Cgroup, groups.memory().map(|it| it.map(used)));
                told.see(Resource::Processes, Scope::Cgroup, groups.pids().map(|it| it.map(used)));
            }
            Err(why) => {
                told.see(Resource::Memory, Scope::Cgroup, Err(why.clone()));
                told.see(Resource::Processes, Scope::Cgroup, Err(why));
            }
        }
        told.sample
    }
}

/// A sample that grows.
struct Told<'a> {
    sample: Sample,
    plan: Option<&'a Plan>,
}

impl Told<'_> {
    fn planned(&self, resource: Resource) -> Option<f64> {
        self.plan?.capacity(resource)
    }

    /// A reading, a reason to be blind, or nothing to say. A capacity of nothing is a reason too.
    fn see(&mut self, resource: Resource, scope: Scope, seen: Seen<Option<Used>>) {
        match seen {
            Ok(Some((used, capacity))) if capacity > 0.0 => {
                self.sample.readings.push(Reading { resource, scope, used, capacity });
            }
            Ok(Some(_)) => {
                let why = "it says that there is nothing of it at all".to_owned();
                self.sample.blind.push(Blind { resource, scope, why });
            }
            Ok(None) => {}
            Err(why) => self.sample.blind.push(Blind { resource, scope, why }),
        }
    }

    /// What the host has, held against the plan too.
    fn see_host(&mut self, resource: Resource, seen: Seen<Used>) {
        let planned =
            seen.as_ref().ok().and_then(|(used, _)| Some((*used, self.planned(resource)?)));
        self.see(resource, Scope::Host, seen.map(Some));
        self.see(resource, Scope::Plan, Ok(planned));
    }

    /// What only a plan can limit.
    fn see_uncapped(&mut self, resource: Resource, seen: Seen<Option<f64>>) {
        match (seen, self.planned(resource)) {
            (Ok(Some(used)), Some(capacity)) => {
                self.see(resource, Scope::Plan, Ok(Some((used, capacity))));
            }
            (Ok(Some(used)), None) => self.sample.uncapped.push(Uncapped { resource, used }),
            (Ok(None), Some(_)) => {
                self.see(resource, Scope::Plan, Err("this machine does not count it".to_owned()));
            }
            (Ok(None), None) => {}
            (Err(why), _) => self.see(resource, Scope::Host, Err(why)),
        }
    }
}

/// What could not be counted.
struct Uncounted {
    cpu: Vec<(Scope, String)>,
    disk: Option<String>,
    network: Option<String>,
}

fn count(root: &HostRoot, data: &std::path::Path, cpu: &LinuxCpuClock) -> (Counters, Uncounted) {
    let CpuLook { host, group } = cpu.look();
    let (disk, interfaces) = (traffic::disk_bytes(root, data), traffic::interfaces(root));
    let blind = Uncounted {
        cpu: [(Scope::Host, host.as_ref().err()), (Scope::Cgroup, group.as_ref().err())]
            .into_iter()
            .filter_map(|(scope, why)| Some((scope, why?.clone())))
            .collect(),
        disk: disk.as_ref().err().cloned(),
        network: interfaces.as_ref().err().cloned(),
    };
    let mut rows = host.unwrap_or_default();
    rows.extend(group.unwrap_or_default());
    let counters = Counters {
        at: Instant::now(),
        cpu: rows,
        disk: disk.unwrap_or_default(),
        interfaces: interfaces.ok(),
    };
    (counters, blind)
}

/// Counters that went backwards, or that are there for the first time, tell nothing this once.
fn rates(before: &Counters, now: &Counters, blind: Uncounted) -> Rates {
    let seconds = (now.at - before.at).as_secs_f64();
    let cpu = now.cpu.iter().filter_map(|now| {
        let before = before.cpu.iter().find(|before| before.scope == now.scope)?;
        let busy = now.busy.checked_sub(before.busy)?;
        Some((now.scope, (busy.as_secs_f64() / seconds, now.cores)))
    });
    let disk = before.disk.zip(now.disk).and_then(|(before, now)| now.checked_sub(before));
    let network = before.interfaces.as_ref().zip(now.interfaces.as_ref()).map(|(before, now)| {
        let (mut received, mut sent) = (0, 0);
        for (name, now) in now {
            let Some(before) = before.get(name) else { continue };
            received += now.received.saturating_sub(before.received);
            sent += now.sent.saturating_sub(before.sent);
        }
        received.max(sent)
    });
    Rates {
        cpu: cpu.collect(),
        cpu_blind: blind.cpu,
        disk: blind.disk.map_or_else(|| Ok(disk.map(|bytes| bytes as f64 / seconds)), Err),
        network: blind
            .network
            .map_or_else(|| Ok(network.map(|bytes| bytes as f64 * 8.0 / seconds)), Err),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use uuid::Uuid;

    use super::*;
    use crate::adapters::host::root::fixture::{Machine, net, stat};

    /// A clock that stands.
    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(12)
        }

        fn new_id(&self) -> Uuid {
            Uuid::nil()
        }

        fn new_secret(&self) -> [u8; 32] {
            [0; 32]
        }
    }

    fn meters(root: HostRoot, data: PathBuf, plan: Option<Plan>) -> LinuxMeters {
        let cores = plan.as_ref().and_then(|plan| plan.cores);
        let cpu = Arc::new(LinuxCpuClock::new(root.clone(), cores));
        LinuxMeters::new(root, data, plan, cpu, Arc::new(Noon))
    }

    /// The sample between two states of a machine.
    fn sample(machine: &Machine, plan: Option<Plan>, change: impl Fn(&Machine)) -> Sample {
        let meters = meters(machine.root(), machine.path().to_path_buf(), plan);
        change(machine);
        std::thread::sleep(WINDOW_MIN);
        meters.read()
    }

    fn plan(text: &str) -> Plan {
        serde_json::from_str(text).unwrap()
    }

    #[track_caller]
    fn blind(sample: &Sample, resource: Resource, scope: Scope, why: &str) {
        let found = sample.blind.iter().find(|it| it.resource == resource && it.scope == scope);
        let found = found.unwrap_or_else(|| panic!("{resource:?} sees: {sample:?}"));
        assert!(found.why.contains(why), "{}", found.why);
        let reading = |it: &&Reading| it.resource == resource && it.scope == scope;
        assert!(!sample.readings.iter().any(|it| reading(&it)), "blind, and yet it tells");
    }

    #[test]
    fn a_bare_machine_is_seen_whole() {
        let machine = Machine::bare();
        let sample = sample(&machine, None, |_| {});
        assert_eq!(sample.blind, []);
        for resource in
            [Resource::Cpu, Resource::Memory, Resource::Disk, Resource::Processes, Resource::Files]
        {
            assert!(sample.tightest(resource).is_some(), "{resource:?}: {sample:?}");
        }
        let uncapped: Vec<_> = sample.uncapped.iter().map(|it| it.resource).collect();
        assert_eq!(uncapped, [Resource::NetworkRate, Resource::Transfer], "{sample:?}");
        assert_eq!(sample.tightest(Resource::Cpu).map(|it| it.capacity), Some(2.0));
    }

    #[test]
    fn two_cores_of_a_quota_on_eight_are_tighter_than_the_machine() {
        let machine = Machine::bare();
        machine
            .write("proc/stat", &stat(&[(100, 100); 8]))
            .write("proc/self/status", "Uid:\t1\nThreads:\t1\nCpus_allowed_list:\t0-7\n")
            .in_v2_leaf()
            .group("work", "cpu.max", "200000 100000\n")
            .group("work", "cpu.stat", "usage_usec 0\n");
        let sample = sample(&machine, None, |machine| {
            machine.write("proc/stat", &stat(&[(110, 110); 8])).group(
                "work",
                "cpu.stat",
                "usage_usec 600000\n",
            );
        });
        let tightest = sample.tightest(Resource::Cpu).unwrap();
        assert_eq!((tightest.scope, tightest.capacity), (Scope::Cgroup, 2.0), "{sample:?}");
        let host = sample.readings.iter().find(|it| it.scope == Scope::Host).unwrap();
        assert_eq!((host.resource, host.capacity), (Resource::Cpu, 8.0));
    }

    #[test]
    fn a_plan_gives_what_the_machine_cannot_know_its_share() {
        let machine = Machine::bare();
        let plan = plan(
            r#"{"name":"p","cores":1,"memory_gb":5,"disk_gb":1,"processes":10,"link_mbit_s":100,"transfer_tb_a_month":1}"#,
        );
        let sample = sample(&machine, Some(plan), |machine| {
            machine.write("proc/net/dev", &net(&[("eth0", 1000 + 250_000, 2000 + 500_000)]));
        });
        let of_plan = |resource| {
            let mut all = sample.readings.iter();
            all.find(|it| it.resource == resource && it.scope == Scope::Plan).copied()
        };
        assert_eq!(of_plan(Resource::Memory).map(|it| it.ratio()), Some(4.096 / 5.0));
        let threads = of_plan(Resource::Processes).map(|it| it.ratio());
        assert_eq!(threads, Some(0.5), "the account's threads");
        assert_eq!(of_plan(Resource::Cpu).map(|it| it.capacity), Some(1.0));
        let network = of_plan(Resource::NetworkRate).unwrap();
        assert_eq!(Some(network.capacity), Some(1e8));
        assert!(network.used > 0.0 && network.used <= 500_000.0 * 8.0 / 0.2, "{network:?}");
        assert_eq!(of_plan(Resource::Transfer).map(|it| it.capacity), Some(1e12));
        assert_eq!(sample.uncapped, [], "{sample:?}");
    }

    #[test]
    fn what_is_not_seen_is_blind_with_its_reason_and_the_rest_goes_on() {
        let sample = |spoil: &dyn Fn(&Machine)| {
            let machine = Machine::bare();
            sample(&machine, None, spoil)
        };
        let stat_gone = sample(&|it| _ = it.remove("proc/stat"));
        blind(&stat_gone, Resource::Cpu, Scope::Host, "proc/stat");
        assert!(stat_gone.tightest(Resource::Memory).is_some());
        blind(
            &sample(&|it| _ = it.write("proc/stat", &stat(&[(0, 0)]))),
            Resource::Cpu,
            Scope::Host,
            "stand still",
        );
        blind(
            &sample(&|it| _ = it.write("proc/meminfo", "")),
            Resource::Memory,
            Scope::Host,
            "MemTotal",
        );
        blind(
            &sample(&|it| _ = it.write("proc/meminfo", "MemTotal: 0 kB\nMemAvailable: 0 kB\n")),
            Resource::Memory,
            Scope::Host,
            "nothing",
        );
        blind(
            &sample(&|it| _ = it.write("proc/net/dev", "\0\u{1}")),
            Resource::NetworkRate,
            Scope::Host,
            "net/dev",
        );
    }

    #[test]
    fn a_control_group_that_does_not_show_is_blind_and_the_machine_is_not() {
        let machine = Machine::bare();
        machine.in_v2_leaf().write("proc/self/cgroup", "0::/lost\n");
        let sample = sample(&machine, None, |_| {});
        for resource in [Resource::Cpu, Resource::Memory, Resource::Processes] {
            blind(&sample, resource, Scope::Cgroup, "/lost");
            let mut readings = sample.readings.iter();
            assert!(readings.any(|it| it.resource == resource && it.scope == Scope::Host));
        }
    }

    #[test]
    fn counters_that_stand_still_are_blind_after_a_second() {
        let machine = Machine::bare();
        let meters = meters(machine.root(), machine.path().to_path_buf(), None);
        std::thread::sleep(Duration::from_millis(1_100));
        blind(&meters.read(), Resource::Cpu, Scope::Host, "stand still");
    }

    #[test]
    fn counters_that_go_backwards_tell_nothing_this_once() {
        let machine = Machine::bare();
        let sample = sample(&machine, None, |machine| {
            machine.write("proc/stat", &stat(&[(1, 900), (1, 901)]));
        });
        assert!(sample.tightest(Resource::Cpu).is_none() && sample.blind.is_empty(), "{sample:?}");
    }

    #[test]
    fn a_busy_core_of_this_machine_shows() {
        let folder = tempfile::tempdir().unwrap();
        let meters = meters(HostRoot::default(), folder.path().to_path_buf(), None);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            std::hint::spin_loop();
        }
        let sample = meters.read();
        let host = sample.readings.iter().find(|it| it.resource == Resource::Cpu);
        let host = host.unwrap_or_else(|| panic!("{sample:?}"));
        // A machine shared with others may have given us less than the whole core.
        assert!(host.used > 0.3 && host.ratio() < 1.2, "{host:?}");
        assert!(sample.tightest(Resource::Memory).is_some_and(|it| it.ratio() < 1.0));
    }
}
