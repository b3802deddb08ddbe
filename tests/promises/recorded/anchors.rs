//! What stands outside the database: the mirror, and a guard that a restored backup does not pass.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use custodia::{
    anchor::{Mirror, Unanchored},
    clock::Clock,
    config::Config,
    durable::{Durable, Fault, Step},
    host::{self, Continued, NewLogKey, Parts, Presence, Range, RecoveryError, StartError},
    ledger::SetupError,
    store::cluster::Role,
};
use custodia_audit::{
    Checkpoint, Control, Edge, Leaf, TileId, Vkey,
    bundle::{Trust, VerifiedBody, verify},
    leaf_hash,
};
use custodia_support::{
    cluster::{TestCluster, TestDatabase},
    people::Person,
    server::{Folder, ORIGIN, TestServer},
};

/// A server that ran and was stopped, with a mirror.
pub(super) struct Place {
    pub(super) config: Config,
    database: TestDatabase,
    _folder: Folder,
}

impl Place {
    pub(super) async fn new() -> Self {
        let mirrored = |config: &mut Config| config.ledger.mirror = Some(config.home.join("mirror"));
        let server = TestServer::with(TestCluster::quick().await, Clock::machine(), mirrored).await;
        let (config, database, folder) = server.stop().await;
        Self { config, database, _folder: folder }
    }

    fn mirror(&self) -> &Path {
        self.config.ledger.mirror.as_deref().unwrap()
    }

    fn anchors(&self) -> PathBuf {
        self.config.home.join("anchor")
    }

    pub(super) async fn parts(&self) -> Result<Parts, StartError> {
        Parts::open(&self.config, &Clock::machine(), Presence::Visitor, &|_| ()).await
    }

    /// Opens the log, adds entries, brings the anchors up, and closes it; the size then.
    async fn live(&self, entries: usize) -> u64 {
        let parts = self.parts().await.unwrap();
        for _ in 0..entries {
            parts.ledger.heartbeat().await.unwrap();
        }
        parts.anchors.round(&parts.ledger).await;
        let (_, head) = parts.ledger.reader().checkpoint().await.unwrap();
        parts.close().await.unwrap();
        head.size
    }

    pub(super) async fn why(&self) -> Unanchored {
        match self.parts().await {
            Err(StartError::Unanchored(why)) => why,
            Err(error) => unreachable!("{}", error.explained()),
            Ok(_) => unreachable!("it opened"),
        }
    }

    async fn size(&self) -> i64 {
        size(&self.database).await
    }
}

/// A backup of every table, kept within the database.
pub(super) async fn back_up(database: &TestDatabase) {
    let owner = database.connect(Role::Owner).await;
    owner.batch_execute("DROP SCHEMA IF EXISTS backup CASCADE; CREATE SCHEMA backup").await.unwrap();
    for table in tables(database).await {
        owner.batch_execute(&format!("CREATE TABLE backup.{table} AS TABLE public.{table}")).await.unwrap();
    }
}

/// Puts the backup back, as an administrator who owns the tables can.
pub(super) async fn put_back(database: &TestDatabase) {
    let owner = database.connect(Role::Owner).await;
    let tables = tables(database).await;
    let each = |sql: &str| tables.iter().map(|table| sql.replace('?', table)).collect::<String>();
    for sql in [
        each("ALTER TABLE ? DISABLE TRIGGER USER;"),
        format!("TRUNCATE {}", tables.join(", ")),
        each("INSERT INTO ? SELECT * FROM backup.?;"),
        each("ALTER TABLE ? ENABLE TRIGGER USER;"),
    ] {
        owner.batch_execute(&sql).await.unwrap();
    }
}

async fn tables(database: &TestDatabase) -> Vec<String> {
    let sql =
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '\\_\\_%'
               ORDER BY tablename <> 'tenant', tablename";
    let rows = database.connect(Role::Owner).await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn size(database: &TestDatabase) -> i64 {
    let owner = database.connect(Role::Owner).await;
    owner.query_one("SELECT size FROM ledger_head WHERE shard = 0", &[]).await.unwrap().get(0)
}

pub(super) async fn key(config: &Config) -> Vkey {
    host::vkeys(config).await.unwrap().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_put_back_to_an_earlier_day_is_not_served() {
    let place = Place::new().await;
    place.live(3).await;
    back_up(&place.database).await;
    let later = place.live(5).await;
    put_back(&place.database).await;
    let restored = place.size().await;
    assert!(u64::try_from(restored).unwrap() < later);

    // The checkpoint in the home and the mirror each notice alone.
    let both = place.why().await.to_string();
    assert!(both.starts_with("the database was put back to an earlier day: "), "{both}");
    assert!(
        both.contains(&format!("knows {later} entries of the log, the database holds {restored}")),
        "{both}"
    );
    assert!(both.contains("custodia audit recover --help"), "{both}");
    match host::start(place.config.clone(), Clock::machine()).await {
        Err(error) => assert_eq!(error.explained(), both),
        Ok(_) => unreachable!("it serves"),
    }
    std::fs::remove_dir_all(place.anchors()).unwrap();
    let why = place.why().await;
    assert!(matches!(&why, Unanchored::Ahead { place, .. } if place.ends_with("mirror/checkpoint")), "{why}");
    // Nothing was signed meanwhile.
    assert_eq!(place.size().await, restored);

    // Without any anchor the past can be rewritten: that is what they are for.
    std::fs::rename(place.mirror(), place.config.home.join("aside")).unwrap();
    let grown = place.live(20).await;
    assert!(grown > later);
    // Then the anchors that come back see another history.
    std::fs::remove_dir_all(place.mirror()).unwrap();
    std::fs::remove_dir_all(place.anchors()).unwrap();
    std::fs::rename(place.config.home.join("aside"), place.mirror()).unwrap();
    let why = place.why().await;
    assert!(matches!(&why, Unanchored::Forked { size, .. } if *size == later), "{why}");
    assert!(why.to_string().contains("histories part before entry"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_log_is_rolled_forward_from_the_mirror_and_says_so() {
    let place = Place::new().await;
    let key = key(&place.config).await;
    place.live(2).await;
    back_up(&place.database).await;
    let anchored = place.live(300).await;
    let note = std::fs::read(place.mirror().join("checkpoint")).unwrap();
    let earlier = Checkpoint::open(&note, ORIGIN, std::slice::from_ref(&key), 0).unwrap();
    assert_eq!(earlier.size, anchored);
    let nothing = host::recover_forward(&place.config, &Clock::machine(), &|_| ()).await;
    assert!(matches!(nothing, Err(RecoveryError::Recover(_))));
    put_back(&place.database).await;
    let restored = u64::try_from(place.size().await).unwrap();

    // A mirror with one bit changed rolls nothing forward.
    let bundle = place.mirror().join("tile/entries/000");
    let sound = std::fs::read(&bundle).unwrap();
    let mut bad = sound.clone();
    *bad.last_mut().unwrap() ^= 1;
    std::fs::write(&bundle, &bad).unwrap();
    assert!(host::recover_forward(&place.config, &Clock::machine(), &|_| ()).await.is_err());
    assert_eq!(u64::try_from(place.size().await).unwrap(), restored);
    std::fs::write(&bundle, &sound).unwrap();

    let done = host::recover_forward(&place.config, &Clock::machine(), &|_| ()).await.unwrap();
    assert_eq!((done.before, done.anchored), (restored, anchored));
    let parts = place.parts().await.unwrap();
    let range = Range { earlier: vec![String::from_utf8(note).unwrap()], ..Range::default() };
    let (file, _) = host::export(&parts, &range, Vec::new()).await.unwrap();
    let mut said = None;
    let mut opened = 0;
    let report =
        verify(file.as_slice(), &Trust::of_log(&key, Some(earlier.clone())), |entry| match entry.body {
            VerifiedBody::Control(control @ Control::Restore { .. }) => said = Some((entry.index, control)),
            VerifiedBody::Opened(_) => opened += 1,
            VerifiedBody::Control(_) | VerifiedBody::Withheld(_) => {}
        });
    let report = report.unwrap();
    assert_eq!((report.continues, report.is_whole, report.counts.withheld), (Some(anchored), true, 0));
    let Some((index, Control::Restore { restored_size, anchored_size, anchored_root, .. })) = said else {
        unreachable!("the log does not say it")
    };
    assert_eq!((index, restored_size, anchored_size), (anchored, restored, anchored));
    assert_eq!(anchored_root, earlier.root.0);
    parts.close().await.unwrap();
    // And the server serves again.
    host::start(place.config.clone(), Clock::machine()).await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_log_commits_to_the_last_checkpoint_of_the_old_one() {
    let place = Place::new().await;
    place.live(2).await;
    let early = place.config.home.join("early");
    std::fs::copy(place.mirror().join("checkpoint"), &early).unwrap();
    back_up(&place.database).await;
    let anchored = place.live(4).await;
    let file = place.config.home.join("kept");
    std::fs::rename(place.mirror().join("checkpoint"), &file).unwrap();
    put_back(&place.database).await;
    let mut config = place.config.clone();
    let anew = async |config: &Config, file: &PathBuf| {
        host::recover_anew(
            config,
            &Clock::machine(),
            Continued { file, logs: None, key: NewLogKey::Same },
            &|_| (),
        )
        .await
    };
    config.ledger.mirror = None;
    assert!(matches!(anew(&config, &file).await, Err(RecoveryError::SameOrigin)));
    config.ledger.origin = Some("records.test/second".into());
    // The old log's place in the database is not a new one.
    assert!(anew(&config, &file).await.is_err());
    config.ledger.shard = 1;
    let other = config.home.join("other");
    std::fs::write(&other, "records.test/log\n1\nAAAA\n\n").unwrap();
    assert!(matches!(anew(&config, &other).await, Err(RecoveryError::NotACheckpoint(_))));
    assert_eq!(anew(&config, &file).await.unwrap().anchored, anchored);
    // Given again it finds that all is done; of another checkpoint it is not the continuation.
    assert_eq!(anew(&config, &file).await.unwrap().anchored, anchored);
    let other = anew(&config, &early).await;
    assert!(matches!(other, Err(RecoveryError::Start(StartError::Ledger(SetupError::NotNew(_))))));

    let parts = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| ()).await.unwrap();
    let first = parts.ledger.reader().leaf(0).await.unwrap();
    let Ok(Leaf::Control(Control::ShardLink { origin, size, .. })) = Leaf::from_bytes(&first) else {
        unreachable!("the first entry is another")
    };
    assert_eq!((origin.as_str(), size), (ORIGIN, anchored));
    parts.close().await.unwrap();
    let running = host::start(config, Clock::machine()).await.unwrap();
    assert_eq!(running.app().ledger.origin(), "records.test/second");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_put_back_under_a_running_server_is_not_signed_over() {
    let server = TestServer::start().await;
    let (database, ledger) = (server.database(), &server.app().ledger);
    back_up(database).await;
    for _ in 0..3 {
        ledger.heartbeat().await.unwrap();
    }
    put_back(database).await;
    let restored = size(database).await;
    // Again and again: a failure does not make it forget.
    for _ in 0..3 {
        assert!(ledger.heartbeat().await.is_err());
        let answer = server.anybody().get("/fhir/metadata").await;
        assert_eq!((answer.status, answer.body.len()), (503, 0));
    }
    assert_eq!(size(database).await, restored);
}

/// All that a mirror's checkpoint speaks of is there, and makes its root.
async fn check_mirror(folder: &Path, key: &Vkey) -> Option<u64> {
    check(&Mirror::new(folder.to_owned(), Durable::shared(), key.clone().into())).await
}

pub(super) async fn check(mirror: &Mirror) -> Option<u64> {
    let (_, head) = mirror.checkpoint().await.unwrap()?;
    let mut edge = Edge::empty();
    while edge.size() < head.size {
        let first = edge.size();
        let entries = mirror.entries(first, head.size, head.size).await.unwrap();
        for entry in &entries {
            for tile in edge.append(leaf_hash(&entry.leaf)) {
                let id = tile.id().unwrap();
                assert_eq!(mirror.file(&id, &id.path()).await.unwrap().unwrap(), tile.to_bytes(), "{id}");
            }
        }
    }
    for tile in edge.partial_tiles() {
        let id = tile.id().unwrap();
        assert_eq!(mirror.file(&id, &id.path()).await.unwrap().unwrap(), tile.to_bytes(), "{id}");
    }
    assert_eq!(edge.root(), head.root);
    Some(head.size)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mirror_stands_whatever_step_fails_and_goes_on() {
    let place = Place::new().await;
    let key = key(&place.config).await;
    let parts = place.parts().await.unwrap();
    let reader = parts.ledger.reader();
    for _ in 0..270 {
        parts.ledger.heartbeat().await.unwrap();
    }
    let mut number = 0;
    for step in [Step::Write, Step::Sync, Step::Rename, Step::SyncFolder] {
        for fault in [Fault::NotDone, Fault::DoneButFailed] {
            // The first, a later one, and one of the checkpoint's own.
            for nth in [0, 3, usize::MAX] {
                number += 1;
                let folder = place.config.home.join(format!("mirror-{number}"));
                let sound = Mirror::new(folder.clone(), Durable::shared(), key.clone().into());
                if number % 2 == 0 {
                    let (note, head) = reader.checkpoint().await.unwrap();
                    sound.advance(reader, &note, &head).await.unwrap();
                    parts.ledger.heartbeat().await.unwrap();
                }
                let before = check_mirror(&folder, &key).await;
                let seen = AtomicUsize::new(0);
                let root = folder.clone();
                let failing = Durable::shared().failing(move |at, path| {
                    let is_checkpoint =
                        path.ends_with("checkpoint") || path == root && seen.load(Ordering::SeqCst) > 1;
                    let count = if at == step { seen.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
                    let is_it = at == step && (count == nth || nth == usize::MAX && is_checkpoint);
                    if is_it { fault } else { Fault::None }
                });
                let (note, head) = reader.checkpoint().await.unwrap();
                let broken = Mirror::new(folder.clone(), failing, key.clone().into());
                let failed = broken.advance(reader, &note, &head).await;
                assert!(failed.is_err() || nth == 3, "{step:?} {fault:?} {nth}");
                let after = check_mirror(&folder, &key).await;
                assert!(after == before || after == Some(head.size), "{step:?} {fault:?} {nth}");
                parts.ledger.heartbeat().await.unwrap();
                let (note, head) = reader.checkpoint().await.unwrap();
                sound.advance(reader, &note, &head).await.unwrap();
                assert_eq!(check_mirror(&folder, &key).await, Some(head.size));
            }
        }
    }
    parts.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auditors_are_served_the_mirror_as_tlog_tiles_lays_it_out() {
    let mirrored = |config: &mut Config| config.ledger.mirror = Some(config.home.join("mirror"));
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), mirrored).await;
    let app = server.app();
    app.anchors.round(&app.ledger).await;
    let key = app.ledger.vkey().clone();
    let auditor = server.person(Person::Auditor).await;
    let note = auditor.get("/audit/log/checkpoint").await.expect(200);
    assert_eq!(note.header("content-type"), Some("text/plain; charset=utf-8"));
    let size = Checkpoint::open(&note.body, ORIGIN, std::slice::from_ref(&key), 0).unwrap().size;
    let id = TileId::in_tree(0, 0, size).unwrap();
    for path in [id.path(), id.entries_path(), "tile/0/000.p/1".to_owned()] {
        let tile = auditor.get(&format!("/audit/log/{path}")).await.expect(200);
        assert_eq!(tile.header("content-type"), Some("application/octet-stream"));
        assert_eq!(tile.body, auditor.get(&format!("/audit/{path}")).await.expect(200).body);
    }
    for path in ["tile/0/999", "tile/0/000.p/256", "../keystore.json", "bodies/000.p/1", "nothing", ""] {
        let answer = auditor.get(&format!("/audit/log/{path}")).await;
        assert!(answer.status == 404 || answer.status == 400, "{path}: {}", answer.status);
    }
    let metrics = server.anybody().get("/metrics").await.expect(200).text();
    assert!(!metrics.contains("custodia_mirrored_size 0\n"), "{metrics}");
}
