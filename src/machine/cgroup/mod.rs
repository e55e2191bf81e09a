//! Reads how much memory is used and how much there may be: of the control group, else of this process on its machine.

use std::io;
use std::path::{Path, PathBuf};

use super::file;

/// Bytes used, and the most that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) used: u64,
    pub(super) limit: u64,
}

/// Where the figures are.
#[derive(Debug)]
pub(super) struct Meter {
    groups: Vec<Group>,
    /// Where `/proc` is.
    proc: PathBuf,
}

/// One control group that has a memory controller.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    dir: PathBuf,
    names: Names,
}

/// What the two versions of control groups call the same things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Names {
    limit: &'static str,
    used: &'static str,
    /// Of `memory.stat`: file pages that the kernel drops before it kills anybody.
    reclaimable: [&'static str; 2],
}

const V1: Names = Names {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: ["total_inactive_file", "total_active_file"],
};
const V2: Names =
    Names { limit: "memory.max", used: "memory.current", reclaimable: ["inactive_file", "active_file"] };

impl Meter {
    /// The groups of this process and all above them, below `root`, which is `/` but in tests.
    pub(super) fn find(root: &Path) -> Self {
        let proc = root.join("proc");
        let text = read(&proc.join("self/cgroup")).unwrap_or_default();
        let mounts = root.join("sys/fs/cgroup");
        let mut groups = Vec::new();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            if controllers.is_empty() {
                groups.extend(upwards(&mounts, path, V2));
            } else if controllers.split(',').any(|controller| controller == "memory") {
                groups.extend(upwards(&mounts.join("memory"), path, V1));
            }
        }
        Self { groups, proc }
    }

    /// The one group in `dir`.
    pub(super) fn at(dir: &Path) -> Self {
        let names = if dir.join(V2.used).exists() { V2 } else { V1 };
        Self { groups: vec![Group { dir: dir.to_owned(), names }], proc: PathBuf::from("/proc") }
    }

    /// The figures of the group that is nearest to its limit; without a limit, this process's own use and `given` or the
    /// machine's memory. Blocks. None if there are no figures.
    pub(super) fn read(&self, given: Option<u64>) -> Option<Reading> {
        let readings = self.groups.iter().filter_map(|group| group.read(given));
        readings.max_by(|one, other| one.share().cmp(&other.share())).or_else(|| self.of_process(given))
    }

    fn of_process(&self, given: Option<u64>) -> Option<Reading> {
        let used = kilobytes(&read(&self.proc.join("self/status")).ok()?, "VmRSS:")?;
        let limit = given.or_else(|| kilobytes(&read(&self.proc.join("meminfo")).ok()?, "MemTotal:"))?;
        Some(Reading { used, limit })
    }
}

impl Reading {
    /// Thousandths of the limit.
    fn share(self) -> u128 {
        u128::from(self.used) * 1_000 / u128::from(self.limit.max(1))
    }
}

impl Group {
    /// None without a limit: the group then says nothing about this process, and others may be in it.
    fn read(&self, given: Option<u64>) -> Option<Reading> {
        let file = |name: &str| read(&self.dir.join(name)).ok();
        // "max", or the largest multiple of a page, stands for none.
        let own = file(self.names.limit).and_then(|text| text.trim().parse().ok());
        let own = own.filter(|limit| *limit > 0 && *limit < NO_LIMIT)?;
        let used: u64 = file(self.names.used)?.trim().parse().ok()?;
        let stat = file("memory.stat").unwrap_or_default();
        let reclaimable: u64 = self.names.reclaimable.iter().filter_map(|name| field(&stat, name)).sum();
        let limit = given.map_or(own, |given| given.min(own));
        Some(Reading { used: used.saturating_sub(reclaimable), limit })
    }
}

/// A group and those above it, as far as they can be seen from here: inside a container the path may be the host's.
fn upwards(mount: &Path, path: &str, names: Names) -> Vec<Group> {
    let relative = Path::new(path.trim_start_matches('/'));
    let is_plain = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let relative = if is_plain { relative } else { Path::new("") };
    relative
        .ancestors()
        .take(MAX_DEPTH)
        .map(|part| mount.join(part))
        .filter(|dir| dir.join(names.used).exists())
        .map(|dir| Group { dir, names })
        .collect()
}

fn field(stat: &str, name: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn read(file: &Path) -> io::Result<String> {
    file::read_text(file, MAX_BYTES)
}

/// Version 1 says so for "none": more memory than any machine has.
const NO_LIMIT: u64 = 1 << 60;
/// `memory.stat` has some 2 kB.
const MAX_BYTES: usize = 64 * 1024;
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests;
