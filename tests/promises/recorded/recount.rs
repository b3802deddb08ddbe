//! The log is read anew beside the requests: what was changed where no start looks is found, and told once.

use std::{path::Path, time::Duration};

use custodia::{
    anchor::Recounted,
    app::App,
    clock::Clock,
    config::Config,
    host::{self, Continued, NewLogKey, StartError},
    ledger::SetupError,
    store::cluster::Role,
};
use custodia_audit::{Control, Leaf, leaf_hash};
use custodia_support::{
    cluster::{TestCluster, TestDatabase},
    server::{ORIGIN, TestServer},
};
use futures_util::future::join_all;

/// Enough for two full tiles, beside what every server says of itself.
const ENTRIES: usize = 600;

pub(super) async fn grown(app: &App) -> u64 {
    let said = join_all((0..ENTRIES).map(|_| app.ledger.heartbeat())).await;
    assert!(said.iter().all(Result::is_ok));
    app.anchors.round(&app.ledger).await;
    app.ledger.reader().size().await.unwrap()
}

/// What is found in the log of a name.
pub(super) async fn found(app: &App, origin: &str) -> Recounted {
    let all = app.anchors.recount(&app.ledger, &app.clock, Duration::ZERO).await;
    all.into_iter().find(|(name, _)| name == origin).unwrap().1
}

/// As somebody who owns the tables can.
pub(super) async fn edit(database: &TestDatabase, sql: &str) {
    let owner = database.connect(Role::Owner).await;
    for table in ["ledger_head", "ledger_entry", "ledger_tile"] {
        owner.batch_execute(&format!("ALTER TABLE {table} DISABLE TRIGGER USER")).await.unwrap();
    }
    owner.batch_execute(sql).await.unwrap();
    for table in ["ledger_head", "ledger_entry", "ledger_tile"] {
        owner.batch_execute(&format!("ALTER TABLE {table} ENABLE TRIGGER USER")).await.unwrap();
    }
}

/// The alarms in the log at a head: who, and where.
pub(super) async fn alarms(database: &TestDatabase, shard: i16) -> Vec<(String, u64)> {
    let owner = database.connect(Role::Owner).await;
    let sql = "SELECT leaf FROM ledger_entry WHERE shard = $1 ORDER BY index";
    let rows = owner.query(sql, &[&shard]).await.unwrap();
    let alarm = |leaf: &[u8]| match Leaf::from_bytes(leaf) {
        Ok(Leaf::Control(Control::ForkAlarm { witness, size, .. })) => Some((witness, size)),
        _ => None,
    };
    rows.iter().filter_map(|row| alarm(row.get(0))).collect()
}

fn flipped(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// The last bit of an entry, or of a tile, the other way round; twice is nothing.
pub(super) const ENTRY: &str =
    "UPDATE ledger_entry SET leaf = set_bit(leaf, 8, 1 - get_bit(leaf, 8)) WHERE shard = 0 AND index = ";
const TILE: &str =
    "UPDATE ledger_tile SET hashes = set_bit(hashes, 9, 1 - get_bit(hashes, 9)) WHERE level = 0 AND index = ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_inside_the_log_is_found_and_told_once() {
    let mirrored = |config: &mut Config| config.ledger.mirror = Some(config.home.join("mirror"));
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), mirrored).await;
    let (app, database) = (server.app(), server.database());
    let size = grown(app).await;
    let sound = |entries| Recounted { entries, whole: true, ..Recounted::default() };
    assert_eq!(found(app, ORIGIN).await, sound(size));

    // In the mirror: a tile, and the entries beside one.
    let mirror = server.config().home.join("mirror");
    for (file, first, alarmed) in [("tile/0/000", 0, 1), ("tile/entries/001", 256, 2)] {
        flipped(&mirror.join(file));
        for _ in 0..2 {
            let now = found(app, ORIGIN).await;
            assert_eq!((now.database, now.mirror), (None, Some(first)), "{file}");
        }
        let told = alarms(database, 0).await;
        assert_eq!((told.len(), told.last()), (alarmed, Some(&(format!("mirror of {ORIGIN}"), first))));
        let metrics = server.anybody().get("/metrics").await.expect(200).text();
        assert!(metrics.contains("custodia_damaged_logs 1\n"), "{metrics}");
        flipped(&mirror.join(file));
        let now = found(app, ORIGIN).await;
        assert_eq!((now.database, now.mirror), (None, None));
    }
    std::fs::rename(mirror.join("tile/0/001"), mirror.join("aside")).unwrap();
    assert_eq!(found(app, ORIGIN).await.mirror, Some(256), "a tile is gone");
    std::fs::rename(mirror.join("aside"), mirror.join("tile/0/001")).unwrap();

    // In the database: a tile, an entry, one that is gone. The mirror is what it was.
    for (number, first) in [(format!("{TILE}1"), 256), (format!("{ENTRY}300"), 256), (format!("{ENTRY}3"), 0)]
    {
        edit(database, &number).await;
        let now = found(app, ORIGIN).await;
        assert_eq!((now.database, now.mirror), (Some(first), None), "{number}");
        edit(database, &number).await;
        assert_eq!(found(app, ORIGIN).await.database, None);
    }
    edit(database, "CREATE TABLE kept AS SELECT * FROM ledger_entry WHERE shard = 0 AND index = 300; DELETE FROM ledger_entry WHERE shard = 0 AND index = 300").await;
    assert_eq!(found(app, ORIGIN).await.database, Some(256));
    edit(database, "INSERT INTO ledger_entry SELECT * FROM kept").await;
    let metrics = server.anybody().get("/metrics").await.expect(200).text();
    assert!(metrics.contains("custodia_damaged_logs 1\n"), "{metrics}");
    let now = found(app, ORIGIN).await;
    assert_eq!((now.database, now.mirror), (None, None));

    // By somebody who changes the tile with the entry: the root is not the signed one, and the mirror knows where.
    edit(database, &format!("{ENTRY}5")).await;
    let leaf = app.ledger.reader().leaf(5).await.unwrap();
    let hash: String = leaf_hash(&leaf).0.iter().map(|byte| format!("{byte:02x}")).collect();
    let fit = "UPDATE ledger_tile SET hashes = overlay(hashes PLACING decode('?', 'hex') FROM 161) WHERE level = 0 AND index = 0";
    edit(database, &fit.replace('?', &hash)).await;
    let now = found(app, ORIGIN).await;
    assert!(now.database.is_some_and(|first| first >= 512) && now.mirror == Some(0), "{now:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_closed_is_read_anew_with_the_one_that_continues_it() {
    let server = TestServer::start().await;
    let _size = grown(server.app()).await;
    let (config, database, _folder) = server.stop().await;
    let (last, next) = (config.home.join("last"), "records.test/next");
    let clock = Clock::machine;
    host::close_log(&config, &clock(), (next, &last), &|_| ()).await.unwrap();
    let mut config = config;
    (config.ledger.origin, config.ledger.shard) = (Some(next.to_owned()), 1);
    let continued = Continued { file: &last, logs: None, key: NewLogKey::Same };
    host::recover_anew(&config, &clock(), continued, &|_| ()).await.unwrap();
    // A start looks at the right edge: an entry there, and a tile, are missed at once.
    for edited in
        [format!("{ENTRY}(SELECT max(index) - 1 FROM ledger_entry WHERE shard = 0)"), format!("{TILE}1")]
    {
        edit(&database, &edited).await;
        let refused = host::start(config.clone(), clock()).await;
        assert!(matches!(refused, Err(StartError::Ledger(SetupError::Head(_)))), "{edited}");
        edit(&database, &edited).await;
    }
    // Further left it does not; whoever reads all of it does.
    edit(&database, &format!("{ENTRY}300")).await;
    let running = host::start(config, clock()).await.unwrap();
    assert_eq!(found(running.app(), next).await.database, None);
    assert_eq!(found(running.app(), ORIGIN).await.database, Some(256));
    assert_eq!(alarms(&database, 1).await, [(format!("database of {ORIGIN}"), 256)]);
    running.stop().await.unwrap();
}
