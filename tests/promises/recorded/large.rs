//! A log as large as a clinic's is exported in constant memory.
//!
//! `CUSTODIA_LARGE_ENTRIES` says how many entries (20,000 if not): `just export-long`, which needs 7 KB of disk for each. They are made as the ledger makes them, groups,
//! salts, commitments and bodies sealed under the tenant's audit key, and appended to the log as a mirror's are after a restore.

use std::{
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use custodia::{
    clock::Clock,
    host::{self, Parts, Presence, Range},
    ledger::{RawEntry, Rolling, month_of, roll_forward},
    seal::AuditKey,
    store::{Database, cluster::Role},
    tenant::TenantId,
};
use custodia_audit::{
    Action, Actor, Checkpoint, Decision, Detail, Edge, Entry, Event, Item, Kind, Object, Outcome, Salts,
    Subject,
    bundle::{Trust, verify},
    entry_commitment, group_digest, leaf_hash,
};
use custodia_support::server::{CLINIC, ORIGIN, TestServer};
use futures_util::FutureExt as _;

/// What an export may add to the memory of a server, in KiB: 8 MiB of tiles, a page of entries and what is rendered of it. The
/// 20,000 entries alone would be more.
const GROWTH_KIB_MAX: u64 = 16 * 1_024;
/// Entries of a page.
const PAGE: u64 = 1_024;

fn entry(number: u64, time_micros: i64) -> Entry {
    let mut request = [0; 16];
    request[8..].copy_from_slice(&number.to_be_bytes());
    let item = Item {
        kind: "Observation".into(),
        id: format!("observation-{number}"),
        version: 1,
        digest: [3; 32],
        action: Action::Released,
    };
    Entry {
        event: Event {
            origin: ORIGIN.into(),
            kind: Kind::Access,
            time_micros,
            node: "filler".into(),
            sequence: number,
            request,
            outcome: Outcome { status: 200, code: "ok".into() },
        },
        actor: Actor {
            user: Some("grey".into()),
            roles: vec!["physician".into()],
            token_id: Some(format!("token-{number}")),
            address: Some("192.0.2.7".into()),
            ..Actor::default()
        },
        subject: Subject {
            tenant: Some(CLINIC.into()),
            patient: Some(format!("Patient/{}", number % 1_000)),
        },
        object: Object {
            interaction: "read".into(),
            items: vec![item],
            policy_set: Some([4; 32]),
            policies: vec!["physician/read".into()],
            decision: Decision::Permit,
        },
        detail: Detail { purpose: Some("TREAT".into()), query: None, reason: None },
    }
}

/// Log entry and plain body of an access, always the same for a number.
fn access(number: u64, time_micros: i64) -> ([u8; 32], Vec<u8>) {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let (salts, groups) = (Salts::from_seed(&seed), entry(number, time_micros).groups());
    let (mut digests, mut body) = ([[0; 32]; 5], seed.to_vec());
    for (at, group) in groups.iter().enumerate() {
        digests[at] = group_digest(u8::try_from(at).unwrap(), &salts.0[at], group);
        body.extend_from_slice(&u32::try_from(group.len()).unwrap().to_be_bytes());
        body.extend_from_slice(group);
    }
    (entry_commitment(&digests), body)
}

fn leaf(commitment: [u8; 32]) -> Vec<u8> {
    [&[1][..], &commitment].concat()
}

/// Whose entries are made, under which key, from which index on.
struct Filler {
    tenant: TenantId,
    key: AuditKey,
    month: i32,
    micros: i64,
    before: u64,
}

impl Filler {
    async fn new(parts: &Parts, before: u64) -> Self {
        let now = Clock::machine().now();
        let (month, micros) = (month_of(now), now.timestamp_micros());
        let tenants = parts.store.tenants().await.unwrap();
        let tenant = tenants.into_iter().find(|one| one.name == CLINIC).unwrap().id();
        let keys = parts.keyring.tenant(tenant).unwrap();
        if parts.store.audit_key(tenant, month).await.unwrap().is_none() {
            let (_, wrapped) = keys.new_audit_key(month).unwrap();
            parts.store.add_audit_key(tenant, month, wrapped, now).await.unwrap();
        }
        let wrapped = parts.store.audit_key(tenant, month).await.unwrap().unwrap();
        Self { tenant, key: keys.audit_key(month, &wrapped).unwrap(), month, micros, before }
    }

    fn entries(&self, first: u64, end: u64) -> Vec<RawEntry> {
        let one = |index: u64| {
            let (commitment, body) = access(index - self.before, self.micros);
            let body = self.key.seal_body(self.tenant, &commitment, &body).unwrap();
            let (tenant, month, leaf) = (self.tenant, self.month, leaf(commitment));
            RawEntry { index, tenant, month, patient: None, leaf, body: Some(body) }
        };
        (first..end.min(first + PAGE)).map(one).collect()
    }

    /// Appends so many accesses to the log, in one transaction.
    async fn fill(&self, parts: &Parts, database: &Database, mut edge: Edge, count: u64) {
        for number in 0..count {
            let _tiles = edge.append(leaf_hash(&leaf(access(number, self.micros).0)));
        }
        let anchored = Checkpoint { origin: ORIGIN.to_owned(), size: edge.size(), root: edge.root() };
        let signer = parts.ledger.reader().signer().await.unwrap();
        let (known, node, now) = (signer.vkeys(), "filler".to_owned(), Clock::machine().now());
        let (shard, heads) = (0, 0..1);
        let rolling =
            Rolling { shard, heads, signer: &signer, known: &known, anchored: &anchored, node, now };
        let page = |first, end| async move { Some(self.entries(first, end)) }.boxed();
        assert_eq!(roll_forward(database, &rolling, page).await.unwrap(), self.before);
    }
}

/// Memory of this process, in KiB: what is resident (`VmRSS:`), or the most that ever was (`VmHWM:`).
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn resident_kib() -> u64 {
    memory_kib("VmRSS:")
}

/// Exports the log: into a folder in every form, or, as `CUSTODIA_LARGE_FORMS=bundle` says, what is verified alone, which
/// takes an eighth of the room. How many entries are opened.
async fn exported(parts: &Parts, out: &Path) -> u64 {
    if std::env::var("CUSTODIA_LARGE_FORMS").is_ok_and(|forms| forms == "bundle") {
        std::fs::create_dir(out).unwrap();
        let file = std::io::BufWriter::new(std::fs::File::create(out.join("log.bundle")).unwrap());
        let (file, count) = host::export(parts, &Range::default(), file).await.unwrap();
        file.into_inner().unwrap().sync_all().unwrap();
        return count;
    }
    let summaries = host::export_folder(parts, &Range::default(), out).await.unwrap();
    summaries[0].counts.opened
}

/// Looks at this process's memory until it is told to end; the most that was seen.
fn watch(is_over: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut most = 0;
        while !is_over.load(Ordering::Relaxed) {
            most = most.max(resident_kib());
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    })
}

/// In a process of its own: the memory of one in which other tests run says nothing.
#[test]
fn an_export_takes_no_more_memory_however_long_the_log_is() {
    let tests = std::env::current_exe().unwrap();
    let only = ["recorded::large::one_export_and_its_memory", "--exact", "--ignored", "--nocapture"];
    let output = std::process::Command::new(tests).args(only).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    writeln!(std::io::stdout(), "{}", said.lines().find(|line| line.contains(" entries: ")).unwrap())
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test above"]
async fn one_export_and_its_memory() {
    let count: u64 = std::env::var("CUSTODIA_LARGE_ENTRIES").map_or(20_000, |count| count.parse().unwrap());
    let (config, database, folder) = TestServer::start().await.stop().await;
    let parts = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| {}).await.unwrap();
    let (_, edge) = parts.ledger.reader().edge().await.unwrap();
    let server = Database::from_url(&database.url(Role::Server), None).unwrap();
    let filler = Filler::new(&parts, edge.size()).await;
    filler.fill(&parts, &server, edge, count).await;
    let (before, is_over) = (resident_kib(), Arc::<AtomicBool>::default());
    let (watched, began) = (watch(Arc::clone(&is_over)), Instant::now());
    let out = folder.path().join("export");
    let opened = exported(&parts, &out).await;
    let took = began.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let grown = watched.join().unwrap().saturating_sub(before);
    assert!(opened >= count);
    let key = parts.ledger.vkey().clone();
    let file = std::fs::File::open(out.join("log.bundle")).unwrap();
    let report = verify(file, &Trust::of_log(&key, None), |_| ()).unwrap();
    assert!(report.counts.opened >= count && report.is_whole);
    let most = memory_kib("VmHWM:");
    let said = format!(
        "{count} entries: {took:.1?}, {before} KiB before, at most {grown} KiB more; {most} KiB at the most, the filling and \
         the verifying of it included"
    );
    writeln!(std::io::stdout(), "{said}").unwrap();
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");
}
