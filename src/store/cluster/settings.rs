//! What is written into `postgresql.conf` and `pg_hba.conf`, and why.
//!
//! May import only its siblings.

use std::path::Path;

use super::{ClusterConfig, Durability, OWNER, SERVER, error::ClusterError};

/// The setting that carries the fingerprint of the rest, so that a running server can be asked for it.
pub(super) const FINGERPRINT: &str = "custodia.settings";

/// Who may connect: the two roles, by password, over the unix socket. There is no TCP at all.
pub(super) fn hba() -> String {
    format!(
        "# Written by custodia at each start.\n\
         # The socket's folder is closed to other users; the password keeps the server to its lesser role.\n\
         local all         {OWNER}  scram-sha-256\n\
         local all         {SERVER} scram-sha-256\n\
         # pg_basebackup connects for replication.\n\
         local replication {OWNER}  scram-sha-256\n"
    )
}

/// The whole `postgresql.conf`, and the fingerprint it carries.
pub(super) fn conf(config: &ClusterConfig, socket_folder: &Path) -> Result<(String, String), ClusterError> {
    let durable = match config.durability {
        Durability::Full => DURABLE,
        Durability::Scratch => SCRATCH,
    };
    let size = format!(
        "# An eighth of the machine's memory, within bounds; what does not fit is in the system's cache.\n\
         shared_buffers = {}MB\n\
         # Two pools of a server and some for psql and pg_dump; each costs memory.\n\
         max_connections = {}\n",
        config.shared_buffers_mib, config.connections_max
    );
    let common = format!("{size}{durable}{FIXED}");
    let fingerprint = format!("{:016x}", fnv1a(common.as_bytes()));
    let text = format!(
        "# Written by custodia at each start: changes belong into ALTER SYSTEM.\n{common}\
         # Only through a folder closed to other users.\n\
         unix_socket_directories = {}\n\
         # A second custodia compares this before it takes a running server over.\n\
         {FINGERPRINT} = '{fingerprint}'\n",
        socket_setting(socket_folder)?
    );
    Ok((text, fingerprint))
}

/// The bounds of what PostgreSQL keeps of its pages by itself.
const BUFFERS_MIB: (u64, u64) = (256, 2_048);

/// An eighth of the machine's memory, in MiB, within [`BUFFERS_MIB`]; the lower bound where the system does not tell.
pub(super) fn share_of_memory() -> u32 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    eighth(&told)
}

fn eighth(meminfo: &str) -> u32 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default();
    u32::try_from((kib / 1_024 / 8).clamp(BUFFERS_MIB.0, BUFFERS_MIB.1)).unwrap_or(256)
}

/// An acknowledged commit survives a power failure.
const DURABLE: &str = "\
# An answer leaves only after its entry is on disk: none of these three may ever be off.
fsync = on
synchronous_commit = on
full_page_writes = on
";

/// A cluster that lives as long as one test run.
const SCRATCH: &str = "\
# Scratch: the machine's crash may lose this cluster; the server's crash does not.
fsync = off
synchronous_commit = off
full_page_writes = off
";

const FIXED: &str = "\
# No TCP: nothing outside this machine can even try a password.
listen_addresses = ''
unix_socket_permissions = 0700
password_encryption = scram-sha-256
# pg_basebackup and point-in-time recovery need it; minimal would forbid backups of a running server.
wal_level = replica
max_wal_senders = 3
# A young database has no statistics, and plans without them read far too much: they are gathered soon after a first load.
autovacuum_naptime = 5s
# The pages a search by marks goes to are few and mostly in memory: to announce each one first costs a third of the search.
effective_io_concurrency = 0
# Bodies are sealed, sealed bytes do not compress: it would only cost processor time.
wal_compression = off
# Fewer checkpoints write fewer whole pages; recovery replays at most this much.
max_wal_size = 2GB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
# Statements are short look-ups: compiling them or splitting them among workers costs more than it saves.
jit = off
max_parallel_workers_per_gather = 0
# A clock call around each read is paid for by every request.
track_io_timing = off
autovacuum = on
# The head of the ledger is updated by each batch: vacuum it before it bloats.
autovacuum_naptime = 15s
# A client that dies inside a transaction must not keep the ledger's head locked.
idle_in_transaction_session_timeout = 60s
# The operational log may hold nothing from a record: no statement, no parameter, no DETAIL (it quotes rows).
logging_collector = off
log_destination = stderr
# An error's first line may quote a value as well; custodia receives it anyway. What PostgreSQL says of itself stays.
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
log_statement = none
log_duration = off
log_min_duration_statement = -1
log_min_duration_sample = -1
log_transaction_sample_rate = 0
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_lock_waits = off
log_checkpoints = off
log_line_prefix = '%m [%p] '
# The same words, times and order on every machine.
log_timezone = UTC
timezone = UTC
datestyle = 'iso, ymd'
lc_messages = C
default_text_search_config = 'pg_catalog.simple'
# What ps and the log call it.
cluster_name = custodia
update_process_title = off
";

/// `unix_socket_directories` is a list: the inner quotes keep a comma from splitting it.
fn socket_setting(folder: &Path) -> Result<String, ClusterError> {
    let not_text = || ClusterError::PathNotText { path: folder.to_path_buf() };
    let text = folder.to_str().ok_or_else(not_text)?;
    if text.chars().any(char::is_control) {
        return Err(not_text());
    }
    let listed = text.replace('"', "\"\"");
    Ok(format!("'\"{}\"'", listed.replace('\\', "\\\\").replace('\'', "''")))
}

/// FNV-1a, 64 bits: names and compares, protects nothing. Stable across builds, unlike the standard hasher.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn fnv1a_agrees_with_its_published_vectors() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn postgresql_keeps_an_eighth_of_the_memory_within_bounds() {
        for (told, mib) in [
            ("MemTotal:        8388608 kB\nMemFree: 1 kB", 1_024),
            ("MemTotal:         524288 kB", 256),
            ("MemTotal:       67108864 kB", 2_048),
            ("MemTotal: much", 256),
            ("", 256),
        ] {
            assert_eq!(eighth(told), mib, "{told}");
        }
    }

    #[test]
    fn the_fingerprint_changes_with_a_setting_but_not_with_the_socket() {
        let config = ClusterConfig::new("/x");
        let (text, here) = conf(&config, Path::new("/a")).unwrap();
        let (_, there) = conf(&config, Path::new("/b")).unwrap();
        assert_eq!(here, there);
        assert!(text.contains(&format!("{FINGERPRINT} = '{here}'")));
        let scratch = ClusterConfig { durability: Durability::Scratch, ..config };
        assert_ne!(conf(&scratch, Path::new("/a")).unwrap().1, here);
    }

    #[test]
    fn socket_folders_are_quoted_for_both_readers() {
        for (folder, expected) in [
            ("/run/x", "'\"/run/x\"'"),
            ("/it's, here", "'\"/it''s, here\"'"),
            ("/a\"b\\c", "'\"/a\"\"b\\\\c\"'"),
        ] {
            assert_eq!(socket_setting(Path::new(folder)).unwrap(), expected);
        }
        assert!(matches!(socket_setting(Path::new("/a\nb")), Err(ClusterError::PathNotText { .. })));
    }
}
