//! Logs side by side are closed, begun and rolled forward, each once: a command that broke off is given again.

use std::path::Path;

use custodia::{
    anchor::Unanchored,
    clock::Clock,
    config::Config,
    host::{
        self, Closed, Continued, NewLogKey, Parts, Presence, Recovered, RecoveryError, Rotation, StartError,
    },
    ledger::SetupError,
    store::cluster::Role,
};
use custodia_audit::{Control, Leaf};
use custodia_support::{
    cluster::{TestCluster, TestDatabase},
    server::{Folder, ORIGIN, TestServer},
};

use super::anchors::{back_up, put_back};

/// The log that continues the first.
const NEXT: &str = "records.test/next";

fn second() -> String {
    format!("{ORIGIN}/1")
}

/// A server that ran, with so many logs and their mirrors.
async fn place(shards: i16) -> (Config, TestDatabase, Folder) {
    let change = |config: &mut Config| {
        config.ledger.shards = shards;
        config.ledger.mirror = Some(config.home.join("mirror"));
    };
    TestServer::with(TestCluster::quick().await, Clock::machine(), change).await.stop().await
}

async fn parts(config: &Config) -> Result<Parts, StartError> {
    Parts::open(config, &Clock::machine(), Presence::Visitor, &|_| {}).await
}

async fn close(config: &Config, next: &str, file: &Path) -> Result<Closed, RecoveryError> {
    host::close_log(config, &Clock::machine(), (next, file), &|_| ()).await
}

async fn anew(config: &Config, continued: Continued<'_>) -> Result<Recovered, RecoveryError> {
    host::recover_anew(config, &Clock::machine(), continued, &|_| ()).await
}

/// The configuration of logs that continue others: another name, heads from `shard` on, no mirror of the old ones.
fn next(config: &Config, (shard, shards): (i16, i16)) -> Config {
    let mut config = config.clone();
    config.ledger.origin = Some(NEXT.to_owned());
    config.ledger.mirror = None;
    (config.ledger.shard, config.ledger.shards) = (shard, shards);
    config
}

async fn sql(database: &TestDatabase, sql: &str) {
    database.connect(Role::Owner).await.batch_execute(sql).await.unwrap();
}

/// Sizes that the heads say, in their order.
async fn heads(database: &TestDatabase) -> Vec<(i16, i64)> {
    let owner = database.connect(Role::Owner).await;
    let rows = owner.query("SELECT shard, size FROM ledger_head ORDER BY shard", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Which entries of a log speak of another, and what they say: index, name, size.
async fn links(database: &TestDatabase, shard: i16) -> Vec<(i64, String, u64)> {
    let owner = database.connect(Role::Owner).await;
    let sql = "SELECT index, leaf FROM ledger_entry WHERE shard = $1 ORDER BY index";
    let mut found = Vec::new();
    for row in owner.query(sql, &[&shard]).await.unwrap() {
        if let Ok(Leaf::Control(Control::ShardLink { origin, size, .. })) = Leaf::from_bytes(row.get(1)) {
            found.push((row.get(0), origin, size));
        }
    }
    found
}

/// From here on PostgreSQL takes no entry of a log from an index on.
async fn breaks(database: &TestDatabase, shard: i16, from: i64) {
    let text = format!(
        "CREATE FUNCTION breaks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
         CREATE TRIGGER breaks BEFORE INSERT ON ledger_entry FOR EACH ROW
         WHEN (NEW.shard = {shard} AND NEW.index >= {from}) EXECUTE FUNCTION breaks()"
    );
    sql(database, &text).await;
}

async fn mended(database: &TestDatabase) {
    sql(database, "DROP TRIGGER breaks ON ledger_entry; DROP FUNCTION breaks()").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_side_by_side_are_closed_together_and_each_once() {
    let (config, database, _folder) = place(2).await;
    let (before, last) = (heads(&database).await, config.home.join("last"));
    // It breaks off after the first log, before the second: neither is closed.
    breaks(&database, 1, 0).await;
    assert!(close(&config, NEXT, &last).await.is_err());
    assert_eq!((heads(&database).await, last.exists()), (before.clone(), false));
    mended(&database).await;
    // A head that stays where it is, without any error of PostgreSQL, closes nothing either.
    let stays = "CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
                 CREATE TRIGGER stay BEFORE UPDATE ON ledger_head FOR EACH ROW WHEN (NEW.shard = 1) EXECUTE FUNCTION stay()";
    sql(&database, stays).await;
    assert!(close(&config, NEXT, &last).await.is_err());
    assert_eq!(heads(&database).await, before);
    assert_eq!((links(&database, 0).await, links(&database, 1).await), (Vec::new(), Vec::new()));
    sql(&database, "DROP TRIGGER stay ON ledger_head; DROP FUNCTION stay()").await;

    // It breaks off after the commit: the second checkpoint has no file, and the mirror of that log is not to be had.
    let (file, mirror) = (config.home.join("last.1"), config.home.join("mirror/shard-1"));
    std::fs::create_dir(&file).unwrap();
    std::fs::rename(&mirror, config.home.join("aside")).unwrap();
    std::fs::write(&mirror, "").unwrap();
    assert!(close(&config, NEXT, &last).await.is_err(), "the mirror cannot be looked at");
    assert_eq!(heads(&database).await, before);
    std::fs::remove_file(&mirror).unwrap();
    std::fs::rename(config.home.join("aside"), &mirror).unwrap();
    let kept = close(&config, NEXT, &last).await;
    assert!(matches!(kept, Err(RecoveryError::NotKept(path)) if path == file));
    let closed = heads(&database).await;
    std::fs::remove_dir(&file).unwrap();
    for _ in 0..2 {
        let entries = closed.iter().map(|(_, size)| u64::try_from(*size).unwrap()).sum();
        assert_eq!(close(&config, NEXT, &last).await.unwrap(), Closed { logs: 2, entries });
        assert_eq!(heads(&database).await, closed, "nothing is appended again");
    }
    for (shard, size) in closed {
        let named = if shard == 0 { NEXT.to_owned() } else { format!("{NEXT}/{shard}") };
        assert_eq!(links(&database, shard).await, [(size - 1, named, 0)]);
    }
    let other = close(&config, "records.test/other", &last).await;
    assert!(matches!(other, Err(RecoveryError::Start(StartError::Ledger(SetupError::Closed(_))))));
    assert!(matches!(parts(&config).await, Err(StartError::Ledger(SetupError::Closed(_)))));
}

/// As a program that closed one after the other, and was killed between two, has left them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_between_two_logs_is_finished() {
    let (mut config, database, _folder) = place(2).await;
    config.ledger.mirror = None;
    let (before, last) = (heads(&database).await, config.home.join("last"));
    back_up(&database).await;
    close(&config, NEXT, &last).await.unwrap();
    std::fs::remove_dir_all(config.home.join("anchor")).unwrap();
    let open = "ALTER TABLE ledger_entry DISABLE TRIGGER USER; ALTER TABLE ledger_head DISABLE TRIGGER USER;
                DELETE FROM ledger_entry WHERE shard = 1; DELETE FROM ledger_head WHERE shard = 1;
                INSERT INTO ledger_entry SELECT * FROM backup.ledger_entry WHERE shard = 1;
                INSERT INTO ledger_head SELECT * FROM backup.ledger_head WHERE shard = 1;
                ALTER TABLE ledger_entry ENABLE TRIGGER USER; ALTER TABLE ledger_head ENABLE TRIGGER USER";
    sql(&database, open).await;
    let half = heads(&database).await;
    assert!(half[0].1 > before[0].1 && half[1] == before[1]);
    close(&config, NEXT, &last).await.unwrap();
    let whole = heads(&database).await;
    assert_eq!((whole[0], links(&database, 1).await.len()), (half[0], 1));
    assert_eq!(links(&database, 0).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_begun_together_each_links_once_and_none_is_left_out() {
    let (config, database, _folder) = place(2).await;
    let last = config.home.join("last");
    close(&config, NEXT, &last).await.unwrap();
    let old = heads(&database).await;
    let all = Continued { file: &last, logs: None, key: NewLogKey::Same };
    let begun = next(&config, (2, 3));

    // Whatever does not fit is refused before anything is written.
    let one = config.home.join("last.1");
    let aside = config.home.join("aside");
    std::fs::rename(&one, &aside).unwrap();
    let why = anew(&begun, all).await;
    assert!(matches!(why, Err(RecoveryError::Missing(file, 2)) if file == one), "the last is missing");
    assert!(matches!(
        anew(&begun, Continued { logs: Some(1), ..all }).await,
        Err(RecoveryError::Miscounted(2))
    ));
    std::fs::copy(&last, &one).unwrap();
    let why = anew(&begun, all).await;
    assert!(matches!(why, Err(RecoveryError::Misplaced(_, name)) if name == second()));
    std::fs::rename(&aside, &one).unwrap();
    assert!(matches!(
        anew(&begun, Continued { logs: Some(3), ..all }).await,
        Err(RecoveryError::Missing(_, 3))
    ));
    let two = config.home.join("last.2");
    std::fs::copy(&one, &two).unwrap();
    assert!(matches!(anew(&begun, all).await, Err(RecoveryError::Surplus(file, 2)) if file == two));
    std::fs::remove_file(&two).unwrap();
    assert!(matches!(anew(&next(&config, (2, 1)), all).await, Err(RecoveryError::FewerLogs(2))));
    assert_eq!(heads(&database).await, old, "not so much as a head was made");

    // After the first log, before the second: neither has an entry.
    breaks(&database, 3, 0).await;
    assert!(anew(&begun, all).await.is_err());
    assert_eq!(heads(&database).await[2..], [(2, 0), (3, 0), (4, 0)]);
    mended(&database).await;
    // After the links, before all of the starts.
    breaks(&database, 3, 1).await;
    assert!(anew(&begun, all).await.is_err());
    let half = heads(&database).await;
    assert!(half[2].1 > 1 && half[3].1 == 1, "{half:?}");
    mended(&database).await;
    for _ in 0..2 {
        anew(&begun, all).await.unwrap();
        for (shard, (origin, size)) in [(2, (ORIGIN.to_owned(), old[0].1)), (3, (second(), old[1].1))] {
            assert_eq!(links(&database, shard).await, [(0, origin, u64::try_from(size).unwrap())]);
        }
        assert_eq!(links(&database, 4).await, []);
    }
    // What they continue is settled.
    let open = parts(&begun).await.unwrap();
    let (note, _) = open.ledger.shards()[0].reader().checkpoint().await.unwrap();
    open.close().await.unwrap();
    let (third, over) = (config.home.join("third"), next(&config, (2, 3)));
    std::fs::write(&third, note).unwrap();
    let other = anew(&over, Continued { file: &third, logs: Some(1), ..all }).await;
    assert!(matches!(other, Err(RecoveryError::SameOrigin)));
    let names: Vec<String> = {
        let open = parts(&begun).await.unwrap();
        let names = open.ledger.readers().map(|log| log.origin().to_owned()).collect();
        open.close().await.unwrap();
        names
    };
    let [one, two, three] = [NEXT.to_owned(), format!("{NEXT}/1"), format!("{NEXT}/2")];
    assert_eq!(names, [one, ORIGIN.to_owned(), two, second(), three]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_the_old_logs_is_told_how_many_there_were() {
    let (config, database, _folder) = place(2).await;
    let last = config.home.join("last");
    close(&config, NEXT, &last).await.unwrap();
    let forget =
        "ALTER TABLE ledger_head DISABLE TRIGGER USER; UPDATE ledger_head SET origin = 'other/' || shard;
                  ALTER TABLE ledger_head ENABLE TRIGGER USER";
    sql(&database, forget).await;
    let begun = next(&config, (2, 2));
    let all = Continued { file: &last, logs: None, key: NewLogKey::Same };
    assert!(matches!(anew(&begun, all).await, Err(RecoveryError::Uncounted(origin)) if origin == ORIGIN));
    let wrong = anew(&begun, Continued { logs: Some(1), ..all }).await;
    assert!(matches!(wrong, Err(RecoveryError::Surplus(_, 1))));
    anew(&begun, Continued { logs: Some(2), ..all }).await.unwrap();
    assert_eq!((links(&database, 2).await.len(), links(&database, 3).await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_key_is_made_once_however_often_the_command_breaks_off() {
    let (config, database, _folder) = place(2).await;
    let last = config.home.join("last");
    close(&config, NEXT, &last).await.unwrap();
    let begun = next(&config, (2, 2));
    let stolen = host::vkeys(&begun).await.unwrap();
    let fresh = Continued { file: &last, logs: None, key: NewLogKey::Fresh };
    breaks(&database, 3, 1).await;
    assert!(anew(&begun, fresh).await.is_err());
    let keys = host::vkeys(&begun).await.unwrap();
    assert!(keys.iter().all(|key| stolen.iter().all(|old| old.public() != key.public())));
    mended(&database).await;
    anew(&begun, fresh).await.unwrap();
    assert_eq!(host::vkeys(&begun).await.unwrap(), keys, "no other was made over what was begun");
    assert_eq!((links(&database, 2).await.len(), links(&database, 3).await.len()), (1, 1));
    parts(&begun).await.unwrap().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_from_before_there_were_more_logs_is_rolled_forward() {
    let (config, database, _folder) = place(1).await;
    back_up(&database).await;
    let mut more = config.clone();
    more.ledger.shards = 3;
    let before = grown(&more).await;
    put_back(&database).await;
    assert_eq!(heads(&database).await.len(), 1);
    let done = host::recover_forward(&more, &Clock::machine(), &|_| ()).await.unwrap();
    assert_eq!(done.anchored, before.iter().sum::<u64>());
    // A server that knows of one does not serve a part of it.
    assert!(matches!(parts(&config).await, Err(StartError::Ledger(SetupError::Shards(3)))));
    let open = parts(&more).await.unwrap();
    let expected: Vec<u64> = before.iter().map(|size| size + 3).collect();
    assert_eq!(sizes(&open).await, expected, "what was lost, an entry that says so, and this start's two");
    open.close().await.unwrap();
}

/// Lets the logs grow and mirrors them; their sizes.
async fn grown(config: &Config) -> Vec<u64> {
    let open = parts(config).await.unwrap();
    for _ in 0..3 {
        open.ledger.heartbeat().await.unwrap();
    }
    open.anchors.round(&open.ledger).await;
    let sizes = sizes(&open).await;
    open.close().await.unwrap();
    sizes
}

/// Sizes of the logs.
async fn sizes(parts: &Parts) -> Vec<u64> {
    let mut sizes = Vec::new();
    for log in parts.ledger.shards() {
        sizes.push(log.reader().size().await.unwrap());
    }
    sizes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_log_is_guarded_rolled_forward_rotated_and_closed() {
    let (config, database, _folder) = place(2).await;
    back_up(&database).await;
    let before = grown(&config).await;
    put_back(&database).await;
    assert!(matches!(parts(&config).await, Err(StartError::Unanchored(Unanchored::Ahead { .. }))));
    // The second log's mirror alone tells it as well.
    std::fs::remove_dir_all(config.home.join("anchor")).unwrap();
    let first = config.home.join("mirror/checkpoint");
    let kept = std::fs::read(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    assert!(matches!(parts(&config).await, Err(StartError::Unanchored(Unanchored::Ahead { .. }))));
    std::fs::write(&first, kept).unwrap();
    let done = host::recover_forward(&config, &Clock::machine(), &|_| ()).await.unwrap();
    assert_eq!(done.anchored, before.iter().sum::<u64>());
    assert!(
        host::recover_forward(&config, &Clock::machine(), &|_| ()).await.is_err(),
        "nothing is left to do"
    );
    let open = parts(&config).await.unwrap();
    let more: Vec<u64> = before.iter().map(|size| size + 3).collect();
    assert_eq!(sizes(&open).await, more, "what was lost, an entry that says so, and this start's two");
    open.close().await.unwrap();

    let policy = config.home.join("log.policy");
    let step =
        async |step| host::rotate_log(&config, &Clock::machine(), step, &policy, &|_| ()).await.unwrap();
    let prepared = step(Rotation::Prepare).await;
    assert_eq!((prepared.signing.len(), prepared.waiting.len()), (2, 2));
    assert_eq!(step(Rotation::Begin).await.signing.len(), 4);
    assert_eq!(step(Rotation::Finish).await.signing, prepared.waiting);
    for (file, key) in ["log.policy", "log.policy.1"].iter().zip(&prepared.waiting) {
        let text = std::fs::read_to_string(config.home.join(file)).unwrap();
        assert!(text.contains(&format!("log {key}\n")), "{text}");
    }

    let last = config.home.join("last");
    close(&config, NEXT, &last).await.unwrap();
    assert!(matches!(parts(&config).await, Err(StartError::Ledger(SetupError::Closed(_)))));
}
