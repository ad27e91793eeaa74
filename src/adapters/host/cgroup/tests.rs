//! Every shape a tree of control groups comes in.

use super::*;
use crate::adapters::host::root::fixture::Machine;

const V1_MOUNTS: &str = "\
40 23 0:30 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
41 40 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
42 40 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
43 40 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
";
const V1_GROUPS: &str = "4:pids:/box\n3:memory:/box\n2:cpu,cpuacct:/box/spark\n";

fn v1() -> Machine {
    let machine = Machine::bare();
    machine.write("proc/self/cgroup", V1_GROUPS).write("proc/self/mountinfo", V1_MOUNTS);
    for group in ["", "box/", "box/spark/"] {
        let cpu = format!("sys/fs/cgroup/cpu,cpuacct/{group}");
        machine
            .write(&format!("{cpu}cpu.cfs_quota_us"), "-1\n")
            .write(&format!("{cpu}cpu.cfs_period_us"), "100000\n")
            .write(&format!("{cpu}cpuacct.usage"), &format!("{}\n", 7_000_000_000 + group.len()));
    }
    machine
        .write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "9223372036854771712\n")
        .write("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "1000\n")
        .write(
            "sys/fs/cgroup/memory/box/memory.stat",
            "active_file 1\ninactive_file 1\ntotal_active_file 300\ntotal_inactive_file 200\ntotal_dirty 50\ntotal_writeback 0\n",
        )
        .write("sys/fs/cgroup/pids/box/pids.max", "100\n")
        .write("sys/fs/cgroup/pids/box/pids.current", "12\n");
    machine
}

#[test]
fn a_leaf_without_limits_gives_no_reading() {
    let machine = Machine::bare();
    machine.in_v2_leaf();
    let groups = Groups::find(&machine.root()).unwrap();
    assert_eq!((groups.cpu(), groups.memory(), groups.pids()), (Ok(None), Ok(None), Ok(None)));
}

#[test]
fn the_tightest_of_all_groups_around_us_is_told() {
    let machine = Machine::bare();
    machine
        .in_v2_leaf()
        .group("work/spark", "cpu.max", "400000 100000\n")
        .group("work", "cpu.max", "150000 100000\n")
        .group("work", "cpu.stat", "usage_usec 6000000\n")
        .group("work/spark", "memory.max", "2000\n")
        .group("work", "memory.max", "1100\n")
        .group("work", "pids.max", "20\n");
    let groups = Groups::find(&machine.root()).unwrap();
    let cpu = groups.cpu().unwrap().unwrap();
    assert_eq!((cpu.cores, cpu.busy()), (1.5, Ok(Duration::from_secs(6))));
    // 1000 held, less 500 of cache, and 50 of it must be written first.
    assert_eq!(groups.memory(), Ok(Some(Taken { used: 550.0, limit: 1100.0 })));
    assert_eq!(groups.pids(), Ok(Some(Taken { used: 12.0, limit: 20.0 })));
}

#[test]
fn the_top_of_version_2_limits_nothing() {
    let machine = Machine::bare();
    machine.in_v2_leaf().write("proc/self/cgroup", "0::/\n");
    let groups = Groups::find(&machine.root()).unwrap();
    assert_eq!((groups.cpu(), groups.memory(), groups.pids()), (Ok(None), Ok(None), Ok(None)));
}

#[test]
fn a_container_that_sees_itself_at_the_top_has_its_limits_there() {
    let machine = Machine::bare();
    machine
        .in_v2_leaf()
        .write("proc/self/cgroup", "0::/\n")
        .write("sys/fs/cgroup/cpu.max", "200000 100000\n")
        .write("sys/fs/cgroup/memory.max", "max\n");
    let groups = Groups::find(&machine.root()).unwrap();
    assert_eq!(groups.cpu().unwrap().map(|it| it.cores), Some(2.0));
}

#[test]
fn a_mount_that_begins_at_our_group_is_ours() {
    let machine = Machine::bare();
    machine
        .write("proc/self/cgroup", "2:cpu,cpuacct:/docker/abc\n")
        .write(
            "proc/self/mountinfo",
            "41 40 0:31 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
        )
        .write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n")
        .write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
        .write("sys/fs/cgroup/cpu/cpuacct.usage", "1500000000\n");
    let cpu = Groups::find(&machine.root()).unwrap().cpu().unwrap().unwrap();
    assert_eq!((cpu.cores, cpu.busy()), (0.5, Ok(Duration::from_millis(1500))));
}

#[test]
fn version_1_is_read_with_its_own_words() {
    let machine = v1();
    let groups = Groups::find(&machine.root()).unwrap();
    assert_eq!((groups.cpu(), groups.memory()), (Ok(None), Ok(None)));
    assert_eq!(groups.pids(), Ok(Some(Taken { used: 12.0, limit: 100.0 })));
    machine
        .write("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "200000\n")
        .write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "5500\n");
    let cpu = groups.cpu().unwrap().unwrap();
    let of_box = Duration::from_nanos(7_000_000_000 + "box/".len() as u64);
    assert_eq!((cpu.cores, cpu.busy()), (2.0, Ok(of_box)), "the group of the limit is counted");
    assert_eq!(groups.memory(), Ok(Some(Taken { used: 550.0, limit: 5500.0 })));
}

#[test]
fn a_mixed_tree_takes_each_controller_where_it_hangs() {
    let machine = v1();
    machine
        .write("proc/self/cgroup", "2:cpu,cpuacct:/box/spark\n0::/work/spark\n")
        .write(
            "proc/self/mountinfo",
            &format!("{V1_MOUNTS}44 40 0:34 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"),
        )
        .write("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "200000\n");
    for (file, text) in [
        ("memory.max", "2000"),
        ("memory.current", "1000"),
        ("memory.stat", "active_file 0\ninactive_file 0\nfile_dirty 0\nfile_writeback 0\n"),
    ] {
        machine.write(&format!("sys/fs/cgroup/unified/work/spark/{file}"), text);
    }
    let groups = Groups::find(&machine.root()).unwrap();
    assert_eq!(groups.cpu().unwrap().map(|it| it.cores), Some(2.0));
    assert_eq!(groups.memory(), Ok(Some(Taken { used: 1000.0, limit: 2000.0 })));
    assert_eq!(groups.pids(), Ok(None));
}

#[test]
fn a_machine_without_groups_is_read_without_them() {
    let machine = Machine::bare();
    let groups = Groups::find(&machine.root()).unwrap();
    assert_eq!((groups.cpu(), groups.memory(), groups.pids()), (Ok(None), Ok(None), Ok(None)));
    machine.remove("proc/self/cgroup");
    assert_eq!(Groups::find(&machine.root()).unwrap().cpu(), Ok(None));
    // The top of a tree that is mounted nowhere.
    machine.write("proc/self/cgroup", "0::/\n");
    assert_eq!(Groups::find(&machine.root()).unwrap().cpu(), Ok(None));
}

#[test]
fn what_must_be_there_and_is_not_is_a_reason() {
    #[track_caller]
    fn check(spoil: impl for<'a> Fn(&'a Machine) -> &'a Machine, reason: &str) {
        let machine = Machine::bare();
        machine
            .in_v2_leaf()
            .group("work/spark", "cpu.max", "150000 100000\n")
            .group("work/spark", "memory.max", "2000\n")
            .group("work/spark", "pids.max", "20\n");
        spoil(&machine);
        let found = Groups::find(&machine.root());
        let whys: Vec<String> = match found {
            Err(why) => vec![why],
            Ok(groups) => [
                groups.cpu().and_then(|it| it.map(|it| it.busy()).transpose()).err(),
                groups.memory().err(),
                groups.pids().err(),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        assert!(whys.len() == 1 && whys[0].contains(reason), "{whys:?}");
    }
    let leaf = "work/spark";
    check(|it| it.group(leaf, "cpu.max", "a lot\n"), "cpu.max");
    check(|it| it.group(leaf, "cpu.max", "150000 0\n"), "cpu.max");
    check(|it| it.group(leaf, "cpu.max", "\n"), "cpu.max");
    check(|it| it.group(leaf, "cpu.stat", "\n"), "cpu.stat");
    check(|it| it.remove("sys/fs/cgroup/work/spark/cpu.stat"), "cpu.stat");
    check(|it| it.remove("sys/fs/cgroup/work/cpu.max"), "cpu.max` is not there");
    check(|it| it.group(leaf, "memory.max", "2 GB\n"), "memory.max");
    check(|it| it.group(leaf, "memory.current", "-1\n"), "memory.current");
    check(|it| it.group(leaf, "memory.stat", "active_file 1\n"), "inactive_file");
    check(|it| it.group(leaf, "pids.current", "\n"), "pids.current");
    check(|it| it.write("proc/self/cgroup", "0::/gone\n"), "`/gone`");
    check(|it| it.write("proc/self/cgroup", "0::/../other\n"), "outside");
    check(|it| it.write("proc/self/mountinfo", "\n"), "no mount");
    check(|it| it.remove("proc/self/mountinfo"), "mountinfo");
}
