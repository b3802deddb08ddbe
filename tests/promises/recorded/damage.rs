//! What cannot be read counts as changed, ends no reading, and is told until it stands in the log.

use std::{os::unix::fs::FileExt as _, time::Duration};

use custodia::{
    anchor::Recounted,
    app::App,
    clock::Clock,
    config::Config,
    host::{self, Continued, NewLogKey},
    store::cluster::Role,
};
use custodia_support::{
    client::Client,
    cluster::{TestCluster, TestDatabase},
    people::Partner,
    server::{ORIGIN, TestServer},
};
use tokio_postgres::NoTls;

use crate::clinic::patient;

use super::recount::{ENTRY, alarms, edit, found, grown};

fn mirrored(config: &mut Config) {
    config.ledger.mirror = Some(config.home.join("mirror"));
}

async fn with_mirror() -> TestServer {
    TestServer::with(TestCluster::quick().await, Clock::machine(), mirrored).await
}

/// Where something was found, and whether it was read to its end.
fn places(found: Recounted) -> (Option<u64>, Option<u64>, bool) {
    (found.database, found.mirror, found.whole)
}

/// The value of a metric.
async fn metric(anybody: &Client, name: &str) -> u64 {
    let text = anybody.get("/metrics").await.expect(200).text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("custodia_{name} ")));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_cannot_be_read_is_told_and_ends_no_reading_of_the_database() {
    let server = with_mirror().await;
    let (app, database) = (server.app(), server.database());
    let size = grown(app).await;
    assert_eq!(metric(&server.anybody(), "recounted_at_seconds").await, 0);
    assert_eq!(places(found(app, ORIGIN).await), (None, None, true));
    assert!(metric(&server.anybody(), "recounted_at_seconds").await > 1_700_000_000);
    let mirror = server.config().home.join("mirror");
    edit(database, &format!("{ENTRY}300")).await;
    for (file, first) in [("checkpoint", 0), ("tile/0/000", 0), ("tile/entries/001", 256)] {
        std::fs::rename(mirror.join(file), mirror.join("aside")).unwrap();
        std::fs::create_dir(mirror.join(file)).unwrap();
        let now = found(app, ORIGIN).await;
        assert_eq!(places(now), (Some(256), Some(first), true), "a folder for {file}");
        assert!(now.entries >= size);
        std::fs::remove_dir(mirror.join(file)).unwrap();
        std::fs::write(mirror.join(file), "nothing of this house").unwrap();
        assert_eq!(places(found(app, ORIGIN).await), (Some(256), Some(first), true), "other bytes in {file}");
        std::fs::rename(mirror.join("aside"), mirror.join(file)).unwrap();
    }
    edit(database, &format!("{ENTRY}300")).await;
    assert_eq!(places(found(app, ORIGIN).await), (None, None, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_an_entry_is_and_that_it_has_a_body_is_looked_at_too() {
    let server = with_mirror().await;
    let written = server.partner(Partner::Importer).put("/fhir/Patient/ann", &patient("ann", &[])).await;
    let index = written.expect(201).receipt().unwrap();
    let (app, database) = (server.app(), server.database());
    let _size = grown(app).await;
    assert_eq!(places(found(app, ORIGIN).await), (None, None, true));
    let row = format!("WHERE e.shard = 0 AND e.index = {index}");
    edit(database, &format!("CREATE TABLE kept AS SELECT * FROM ledger_entry e {row}")).await;
    let mend =
        "UPDATE ledger_entry e SET tenant = k.tenant, month = k.month, patient = k.patient, body = k.body
                FROM kept k WHERE (e.shard, e.index) = (k.shard, k.index)";
    for set in
        ["body = NULL", "patient = NULL", "patient = gen_random_uuid()", "month = month + 1", "tenant = 2"]
    {
        edit(database, &format!("UPDATE ledger_entry e SET {set} {row}")).await;
        assert_eq!(places(found(app, ORIGIN).await), (Some(index), None, true), "{set}");
        edit(database, mend).await;
        assert_eq!(places(found(app, ORIGIN).await), (None, None, true), "{set}, mended");
    }
    std::fs::remove_file(server.config().home.join("mirror/bodies/000")).unwrap();
    assert_eq!(places(found(app, ORIGIN).await), (None, Some(0), true), "the mirror's bodies are gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_that_could_not_be_recorded_is_raised_again() {
    let server = TestServer::start().await;
    let (app, database) = (server.app(), server.database());
    let _size = grown(app).await;
    edit(database, &format!("{ENTRY}300")).await;
    let owner = database.connect(Role::Owner).await;
    let broken = "REVOKE INSERT ON ledger_entry FROM custodia_server";
    owner.batch_execute(broken).await.unwrap();
    for _ in 0..2 {
        assert_eq!(found(app, ORIGIN).await.database, Some(256));
        assert_eq!(alarms(database, 0).await, []);
        assert_eq!(metric(&server.anybody(), "damaged_logs").await, 1);
    }
    owner.batch_execute(&broken.replace("REVOKE", "GRANT").replace("FROM", "TO")).await.unwrap();
    let told = [(format!("database of {ORIGIN}"), 256)];
    for _ in 0..2 {
        assert_eq!(found(app, ORIGIN).await.database, Some(256));
        assert_eq!(alarms(database, 0).await, told);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_that_broke_off_says_so_and_takes_no_alarm_back() {
    let server = with_mirror().await;
    let (app, database) = (server.app(), server.database());
    let _size = grown(app).await;
    let tile = server.config().home.join("mirror/tile/0/001");
    std::fs::rename(&tile, tile.with_extension("aside")).unwrap();
    assert_eq!(places(found(app, ORIGIN).await), (None, Some(256), true));
    let at = metric(&server.anybody(), "recounted_at_seconds").await;

    // Entries that are gone with their tile, whose copy is gone as well: what is behind them is not read.
    edit(
        database,
        "CREATE TABLE kept_entry AS SELECT * FROM ledger_entry WHERE shard = 0 AND index = 3;
         CREATE TABLE kept_tile AS SELECT * FROM ledger_tile WHERE shard = 0 AND level = 0 AND index = 0;
         DELETE FROM ledger_entry WHERE shard = 0 AND index = 3;
         DELETE FROM ledger_tile WHERE shard = 0 AND level = 0 AND index = 0",
    )
    .await;
    assert_eq!(places(found(app, ORIGIN).await), (Some(0), Some(256), true), "the mirror has the tile");
    let first = tile.with_file_name("000");
    std::fs::rename(&first, first.with_extension("aside")).unwrap();
    assert_eq!(places(found(app, ORIGIN).await), (Some(0), None, false));
    assert_eq!(metric(&server.anybody(), "damaged_logs").await, 2, "nobody looked at the other tile");
    std::fs::rename(first.with_extension("aside"), &first).unwrap();
    edit(
        database,
        "INSERT INTO ledger_entry SELECT * FROM kept_entry; INSERT INTO ledger_tile SELECT * FROM kept_tile",
    )
    .await;

    // A database that is away has told nothing.
    let owner = outside().await;
    let closed = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name());
    owner.batch_execute(&closed).await.unwrap();
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1";
    owner.query_one(cut, &[&database.name()]).await.unwrap();
    assert_eq!(found(app, ORIGIN).await, Recounted::default());
    assert_eq!(metric(&server.anybody(), "recount_failures_total").await, 2);
    assert_eq!(metric(&server.anybody(), "damaged_logs").await, 2);
    owner.batch_execute(&closed.replace("false", "true")).await.unwrap();
    until_committed(app).await;
    std::fs::rename(tile.with_extension("aside"), &tile).unwrap();
    assert_eq!(places(found(app, ORIGIN).await), (None, None, true));
    assert_eq!(metric(&server.anybody(), "damaged_logs").await, 0);
    assert!(metric(&server.anybody(), "recounted_at_seconds").await >= at);
    let places = ["mirror", "database"].map(|place| format!("{place} of {ORIGIN}"));
    let told: Vec<_> = alarms(database, 0).await.into_iter().map(|(place, _)| place).collect();
    assert_eq!(told, places, "each once");
}

async fn until_committed(app: &App) {
    for _ in 0..100 {
        if app.ledger.heartbeat().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the ledger never came back");
}

/// A connection that is none of a test's database.
async fn outside() -> tokio_postgres::Client {
    let cluster = TestCluster::quick().await.cluster();
    let (owner, connection) = cluster.config("postgres", Role::Owner).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    owner
}

/// A copy of a database's files, in which the page with an entry has been changed as a disk may change it.
async fn with_a_broken_page(database: &TestDatabase, name: &str, index: i64) {
    let cluster = TestCluster::quick().await.cluster();
    let owner = database.connect(Role::Owner).await;
    let sql = "SELECT pg_relation_filepath('ledger_entry'), (ctid::text::point)[0]::bigint
               FROM ledger_entry WHERE shard = 0 AND index = $1";
    let row = owner.query_one(sql, &[&index]).await.unwrap();
    let (path, block): (String, i64) = (row.get(0), row.get(1));
    drop(owner);
    let owner = outside().await;
    let version: String = owner.query_one("SHOW server_version_num", &[]).await.unwrap().get(0);
    // As older ones do anyway: no page of it has been in memory.
    let strategy = if version.as_str() < "150000" { "" } else { "STRATEGY FILE_COPY" };
    let made = format!("CREATE DATABASE {name} TEMPLATE {} {strategy}", database.name());
    for _ in 0..100 {
        // Connections that were dropped take a moment to go.
        if owner.batch_execute(&made).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sql = "SELECT oid::bigint FROM pg_database WHERE datname = $1";
    let oid: i64 = owner.query_one(sql, &[&name]).await.unwrap().get(0);
    let file = path.rsplit('/').next().unwrap();
    let path = cluster.data().join(format!("base/{oid}/{file}"));
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let at = u64::try_from(block).unwrap() * 8_192 + 8_000;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_the_disk_changed_is_told_and_what_stands_behind_it_is_read() {
    let server = with_mirror().await;
    let size = grown(server.app()).await;
    let (mut config, database, _folder) = server.stop().await;
    let copy = format!("{}_broken", database.name());
    with_a_broken_page(&database, &copy, 100).await;
    for url in [&mut config.database.url, &mut config.database.owner_url] {
        *url = url.as_ref().and_then(|url| Some(format!("{}{copy}", url.strip_suffix(database.name())?)));
    }
    let running = host::start(config.clone(), Clock::machine()).await.unwrap();
    let app = running.app();
    let now = found(app, ORIGIN).await;
    assert_eq!(places(now), (Some(0), None, true));
    assert!(now.entries > size, "it was read to its end");
    // Behind it, another place.
    let tile = config.home.join("mirror/tile/0/001");
    std::fs::rename(&tile, tile.with_extension("aside")).unwrap();
    assert_eq!(places(found(app, ORIGIN).await), (Some(0), Some(256), true));
    assert_eq!(app.anchors.counts().damaged_logs(), 2);
    assert_eq!(app.anchors.counts().recount_failures(), 0);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_log_that_was_cut_back_to_an_earlier_signed_day_is_told() {
    let server = TestServer::start().await;
    let (note, early) = server.app().ledger.reader().checkpoint().await.unwrap();
    let size = grown(server.app()).await;
    let (mut config, database, _folder) = server.stop().await;
    let (last, next) = (config.home.join("last"), "records.test/next");
    host::close_log(&config, &Clock::machine(), (next, &last), &|_| ()).await.unwrap();
    (config.ledger.origin, config.ledger.shard) = (Some(next.to_owned()), 1);
    let continued = Continued { file: &last, logs: None, key: NewLogKey::Same };
    host::recover_anew(&config, &Clock::machine(), continued, &|_| ()).await.unwrap();
    let root: String = early.root.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let cut = format!(
        "DELETE FROM ledger_entry WHERE shard = 0 AND index >= {0}; DELETE FROM ledger_tile WHERE shard = 0;
         UPDATE ledger_head SET size = {0}, root = decode('{root}', 'hex'), checkpoint = '{note}' WHERE shard = 0",
        early.size
    );
    assert!(early.size < 256 && size > 512, "no tile is left");
    edit(&database, &cut).await;
    let running = host::start(config, Clock::machine()).await.unwrap();
    assert_eq!(places(found(running.app(), next).await), (None, None, true));
    assert_eq!(places(found(running.app(), ORIGIN).await), (Some(early.size), None, true));
    assert_eq!(alarms(&database, 1).await, [(format!("database of {ORIGIN}"), early.size)]);
    // A head that says what nobody signed is told as well.
    edit(&database, "UPDATE ledger_head SET checkpoint = 'nothing' WHERE shard = 0").await;
    assert_eq!(places(found(running.app(), ORIGIN).await), (Some(0), None, false));
    running.stop().await.unwrap();
}
