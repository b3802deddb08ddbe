//! What the processes cost, read from /proc. Imports nothing of this crate.
//!
//! PostgreSQL is its postmaster and that one's children; those that ended in between are in the postmaster's
//! account of children waited for.

use std::{collections::HashMap, fs, process::Command};

use serde::Serialize;

/// Which processes are watched.
#[derive(Clone, Copy)]
pub(crate) struct Gauge {
    server: Option<u32>,
    postgres: Option<u32>,
    ticks_per_s: f64,
}

/// Totals since each process started, and the server's memory now.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Reading {
    /// The server's processor time, in seconds.
    pub(crate) server_cpu_s: f64,
    /// PostgreSQL's.
    pub(crate) postgres_cpu_s: f64,
    /// The load generator's own.
    pub(crate) load_cpu_s: f64,
    /// The server's resident memory, in KiB.
    pub(crate) server_rss_kib: u64,
}

impl Gauge {
    /// Watches a server and its postmaster.
    pub(crate) fn new(server: Option<u32>, postgres: Option<u32>) -> Self {
        let asked = Command::new("getconf").arg("CLK_TCK").output().ok();
        let ticks = asked.and_then(|asked| String::from_utf8(asked.stdout).ok()?.trim().parse().ok());
        // What Linux has on every machine this was seen on.
        Self { server, postgres, ticks_per_s: ticks.unwrap_or(100.0) }
    }

    /// Reads all now. A process that is gone counts nothing.
    pub(crate) fn read(&self) -> Reading {
        let of = |pid: u32| {
            fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|text| Stat::parse(&text))
        };
        let seconds = |ticks: u64| ticks as f64 / self.ticks_per_s;
        Reading {
            server_cpu_s: self.server.and_then(of).map_or(0.0, |stat| seconds(stat.own)),
            postgres_cpu_s: self.postgres.map_or(0.0, |pid| seconds(tree_ticks(pid))),
            load_cpu_s: of(std::process::id()).map_or(0.0, |stat| seconds(stat.own)),
            server_rss_kib: self.server_rss_kib(),
        }
    }

    /// The server's resident memory now, in KiB.
    pub(crate) fn server_rss_kib(&self) -> u64 {
        let status = self.server.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
        status.as_deref().and_then(rss_kib).unwrap_or(0)
    }
}

/// The `VmRSS` line of a status file.
fn rss_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// What is used of `/proc/<pid>/stat`, in clock ticks.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own: u64,
    waited_for: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may hold anything, even parentheses.
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |place: usize| fields.get(place)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            waited_for: ticks(13)? + ticks(14)?,
        })
    }
}

/// All processes, by their id.
fn processes() -> HashMap<u32, Stat> {
    let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let read = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, Stat::parse(&text)?))
    };
    pids.filter_map(read).collect()
}

fn tree_ticks(root: u32) -> u64 {
    let all = processes();
    let Some(postmaster) = all.get(&root) else { return 0 };
    let children = all.values().filter(|stat| stat.parent == root).map(|stat| stat.own + stat.waited_for);
    postmaster.own + postmaster.waited_for + children.sum::<u64>()
}

/// The children of a process.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    processes().into_iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| pid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_past_a_name_with_parentheses() {
        let line = "42 (post) gres (x) S 7 42 42 0 -1 4194560 1 2 3 4 11 22 33 44 20 0 1 0 100 1 1";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 7, own: 33, waited_for: 77 }));
        assert_eq!(Stat::parse("42 (x) S 7"), None);
    }

    #[test]
    fn resident_memory_is_read_from_its_line() {
        assert_eq!(rss_kib("Name:\tx\nVmHWM:\t  99 kB\nVmRSS:\t  1234 kB\n"), Some(1_234));
        assert_eq!(rss_kib("Name:\tkthread\n"), None);
    }

    #[test]
    fn this_process_is_seen_with_its_memory_and_time() {
        let gauge = Gauge::new(Some(std::process::id()), None);
        let reading = gauge.read();
        assert!(reading.server_rss_kib > 500, "{reading:?}");
        assert!((reading.server_cpu_s - reading.load_cpu_s).abs() < 1.0);
        assert!(children(1).len() < 100_000);
    }
}
