//! Holds which figures are believed, with the files of either version of control groups made up.

use tempfile::TempDir;

use super::*;

const MIB: u64 = 1 << 20;

/// A machine made of files: path below the root, and content.
fn machine(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    root
}

fn check(files: &[(&str, &str)], given: Option<u64>, expected: Option<(u64, u64)>) {
    let root = machine(files);
    let found = Meter::find(root.path()).read(given);
    assert_eq!(found.map(|reading| (reading.used, reading.limit)), expected, "{files:?} {given:?}");
}

const PROC: [(&str, &str); 2] = [
    ("proc/self/status", "Name:\ttollgate\nVmHWM:\t 90000 kB\nVmRSS:\t   2048 kB\n"),
    ("proc/meminfo", "MemTotal:       16384 kB\nMemFree:  1 kB\n"),
];

#[test]
fn version_2_counts_the_group_without_what_the_kernel_can_drop() {
    let files = [
        ("proc/self/cgroup", "0::/\n"),
        ("sys/fs/cgroup/memory.max", "536870912\n"),
        ("sys/fs/cgroup/memory.current", "104857600\n"),
        ("sys/fs/cgroup/memory.stat", "anon 5\ninactive_file 20971520\nactive_file 10485760\n"),
    ];
    check(&files, None, Some((70 * MIB, 512 * MIB)));
    check(&files, Some(100 * MIB), Some((70 * MIB, 100 * MIB)));
    check(&files, Some(1024 * MIB), Some((70 * MIB, 512 * MIB)));
}

#[test]
fn version_1_counts_the_same_under_other_names() {
    let files = [
        ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "31457280\n"),
        ("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 10485760\n"),
    ];
    // The container does not see the host's path: its own group is mounted as the root.
    check(&files, None, Some((20 * MIB, 100 * MIB)));
}

#[test]
fn the_group_nearest_to_its_limit_counts_even_if_it_is_further_up() {
    let files = [
        ("proc/self/cgroup", "0::/pod/container\n"),
        ("sys/fs/cgroup/pod/memory.max", "1000\n"),
        ("sys/fs/cgroup/pod/memory.current", "900\n"),
        ("sys/fs/cgroup/pod/container/memory.max", "800\n"),
        ("sys/fs/cgroup/pod/container/memory.current", "80\n"),
    ];
    check(&files, None, Some((900, 1000)));
}

#[test]
fn without_a_limit_this_process_is_measured_against_the_machine() {
    let group = |limit: &'static str| {
        [
            ("proc/self/cgroup", "0::/user\n"),
            ("sys/fs/cgroup/user/memory.max", limit),
            ("sys/fs/cgroup/user/memory.current", "999999999\n"),
            PROC[0],
            PROC[1],
        ]
    };
    check(&group("max\n"), None, Some((2 * MIB, 16 * MIB)));
    check(&group("9223372036854771712\n"), None, Some((2 * MIB, 16 * MIB)));
    check(&group("garbage"), None, Some((2 * MIB, 16 * MIB)));
    check(&group("max\n"), Some(4 * MIB), Some((2 * MIB, 4 * MIB)));
    check(&PROC, None, Some((2 * MIB, 16 * MIB)));
}

#[test]
fn a_machine_that_tells_nothing_is_no_reason_to_refuse() {
    check(&[], None, None);
    check(&[("proc/self/cgroup", "::::\n\n0:\n4:memory:/../../etc\n")], None, None);
    check(&[PROC[1]], Some(MIB), None);
}

#[test]
fn a_group_can_be_named() {
    let root = machine(&[("g/memory.max", "1000"), ("g/memory.current", "10")]);
    assert_eq!(Meter::at(&root.path().join("g")).read(None), Some(Reading { used: 10, limit: 1000 }));
}

#[test]
fn this_machine_tells_something() {
    if cfg!(target_os = "linux") {
        let reading = Meter::find(Path::new("/")).read(None).unwrap();
        assert!(reading.used > 0 && reading.limit > reading.used / 10, "{reading:?}");
    }
}
