//! The log in a bucket of an S3-compatible store: whole whatever fails, never back, and enough to recover from.

use custodia::{
    anchor::{Bucket, Mirror, Unanchored},
    clock::Clock,
    config::{BucketConfig, Config},
    host::{self, Parts, Presence, StartError, explained},
};
use custodia_audit::{Checkpoint, TileId, Vkey};
use custodia_support::{
    cluster::TestCluster,
    server::{ORIGIN, TestServer},
};
use zeroize::Zeroizing;

use super::{
    anchors::{back_up, check, put_back},
    s3::{BUCKET, Fate, KEY_ID, REGION, SECRET, Store},
};

fn bucket(store: &Store, prefix: &str) -> BucketConfig {
    BucketConfig {
        name: Some(BUCKET.into()),
        endpoint: Some(store.url()),
        region: REGION.into(),
        prefix: prefix.into(),
        key_id: Some(KEY_ID.into()),
        secret: Some(Zeroizing::new(SECRET.into())),
        roots: None,
    }
}

fn mirror(config: &BucketConfig, key: &Vkey) -> Mirror {
    Mirror::in_bucket(Bucket::open(config).unwrap().unwrap(), key.clone().into())
}

async fn opened(config: &Config) -> Result<Parts, StartError> {
    Parts::open(config, &Clock::machine(), Presence::Visitor, &|_| ()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_copied_to_a_bucket_with_its_checkpoint_last() {
    let store = Store::start().await;
    let copied = |config: &mut Config| config.bucket = bucket(&store, "clinic/log");
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), copied).await;
    let app = server.app();
    let key = app.ledger.vkey().clone();
    let mirror = mirror(&server.config().bucket, &key);
    let mut before = 0;
    for entries in [3, 300, 0, 20] {
        for _ in 0..entries {
            app.ledger.heartbeat().await.unwrap();
        }
        store.asked();
        app.anchors.round(&app.ledger).await;
        let (asked, unsigned) = store.asked();
        assert_eq!(unsigned, 0, "every request is signed with the key");
        let puts: Vec<_> = asked.iter().filter(|asked| asked.starts_with("PUT ")).collect();
        let last = puts.iter().position(|put| *put == "PUT clinic/log/checkpoint");
        assert!(puts.is_empty() || last == Some(puts.len() - 1), "{puts:?}");
        // A server's own round may have been first.
        let size = check(&mirror).await.unwrap();
        assert!(size >= before + entries);
        assert_eq!(app.anchors.counts().mirror_failures(), 0);
        before = size;
    }
    // Parts of what is whole now are gone, and nothing lies beside the prefix.
    let full = TileId { level: 0, index: 0, width: 256 }.path();
    let keys = store.keys();
    assert!(keys.contains(&format!("clinic/log/{full}")));
    assert!(keys.iter().all(|key| key.starts_with("clinic/log/") && !key.contains(&format!("{full}.p/"))));
    let note = store.object("clinic/log/checkpoint").unwrap();
    assert_eq!(Checkpoint::open(&note, ORIGIN, &[key], 0).unwrap().size, before);
    let metrics = server.anybody().get("/metrics").await.expect(200).text();
    assert!(metrics.contains(&format!("custodia_mirrored_size {before}\n")), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_stands_whatever_request_fails_and_goes_on() {
    let store = Store::start().await;
    let server = TestServer::start().await;
    let ledger = &server.app().ledger;
    let reader = ledger.reader();
    for _ in 0..270 {
        ledger.heartbeat().await.unwrap();
    }
    let mut number = 0;
    for fate in [Fate::NotDone, Fate::DoneButFailed] {
        // The first, a later one, and the checkpoint; of a new copy and of one that is there already.
        for (nth, is_there) in
            [(0, false), (3, false), (usize::MAX, false), (0, true), (2, true), (usize::MAX, true)]
        {
            number += 1;
            let config = bucket(&store, &format!("copy-{number}"));
            let mirror = mirror(&config, ledger.vkey());
            if is_there {
                let (note, head) = reader.checkpoint().await.unwrap();
                mirror.advance(reader, &note, &head).await.unwrap();
                ledger.heartbeat().await.unwrap();
            }
            let before = check(&mirror).await;
            let (mut seen, fate_of) = (0, fate.clone());
            store.fates(move |method, key| {
                if method != "PUT" {
                    return Fate::Answered;
                }
                seen += 1;
                let is_it = if nth == usize::MAX { key.ends_with("/checkpoint") } else { seen == nth + 1 };
                if is_it { fate_of.clone() } else { Fate::Answered }
            });
            let (note, head) = reader.checkpoint().await.unwrap();
            let failed = mirror.advance(reader, &note, &head).await;
            assert!(failed.is_err(), "{fate:?} {nth} {is_there}");
            store.mend();
            let after = check(&mirror).await;
            let may_be_new = nth == usize::MAX && fate == Fate::DoneButFailed;
            assert_eq!(after, if may_be_new { Some(head.size) } else { before }, "{fate:?} {nth} {is_there}");
            // The next round, which is also what a process does that comes after a crash.
            ledger.heartbeat().await.unwrap();
            let (note, head) = reader.checkpoint().await.unwrap();
            assert_eq!(mirror.advance(reader, &note, &head).await.unwrap(), head.size);
            assert_eq!(check(&mirror).await, Some(head.size));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_the_slower_one_does_not_put_a_bucket_back() {
    let store = Store::start().await;
    let server = TestServer::start().await;
    let ledger = &server.app().ledger;
    let reader = ledger.reader();
    let mirror = mirror(&bucket(&store, ""), ledger.vkey());
    let checkpoint = || reader.checkpoint();
    let (note, head) = checkpoint().await.unwrap();
    for first in [true, false] {
        // While this server puts its files, another puts a later checkpoint.
        ledger.heartbeat().await.unwrap();
        let (slow, slow_head) = checkpoint().await.unwrap();
        ledger.heartbeat().await.unwrap();
        let (fast, fast_head) = checkpoint().await.unwrap();
        let other = fast.clone().into_bytes();
        store.fates(move |method, key| {
            if method == "PUT" && key == "checkpoint" {
                Fate::Overtaken(other.clone())
            } else {
                Fate::Answered
            }
        });
        assert_eq!(
            mirror.advance(reader, &slow, &slow_head).await.unwrap(),
            fast_head.size,
            "first: {first}"
        );
        store.mend();
        assert_eq!(store.object("checkpoint").unwrap(), fast.as_bytes());
        // The files of that later one are the other server's to put; here it is stood in for.
        store.fates(|method, _| if method == "PUT" { Fate::NotDone } else { Fate::Answered });
        assert_eq!(mirror.advance(reader, &note, &head).await.unwrap(), fast_head.size, "it is behind");
        store.mend();
        let whole = self::mirror(&bucket(&store, "whole"), ledger.vkey());
        whole.advance(reader, &fast, &fast_head).await.unwrap();
        for key in store.keys() {
            let Some(name) = key.strip_prefix("whole/") else { continue };
            store.copy(&key, name);
        }
        assert_eq!(check(&mirror).await, Some(fast_head.size));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_ignores_conditions_is_not_taken() {
    let store = Store::start().await;
    let copied = |config: &mut Config| config.bucket = bucket(&store, "log");
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), copied).await;
    let (config, _database, _folder) = server.stop().await;
    store.fates(|_, _| Fate::Unconditional);
    let Err(StartError::Unanchored(why)) = opened(&config).await else { unreachable!("it opened") };
    assert_eq!(
        explained(&why),
        "the mirror (ledger.mirror, or the bucket): the store ignores If-Match on PUT"
    );
    // One that takes nothing today hinders nobody.
    store.fates(|method, _| if method == "PUT" { Fate::NotDone } else { Fate::Answered });
    opened(&config).await.unwrap().close().await.unwrap();
    store.mend();
    opened(&config).await.unwrap().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_is_noticed_and_rolled_forward_from_a_bucket() {
    let store = Store::start().await;
    let copied = |config: &mut Config| config.bucket = bucket(&store, "");
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), copied).await;
    let (mut config, database, _folder) = server.stop().await;
    let live = async |config: &Config, entries: usize| {
        let parts = opened(config).await.unwrap();
        for _ in 0..entries {
            parts.ledger.heartbeat().await.unwrap();
        }
        parts.anchors.round(&parts.ledger).await;
        let (_, head) = parts.ledger.reader().checkpoint().await.unwrap();
        parts.close().await.unwrap();
        head.size
    };
    live(&config, 2).await;
    back_up(&database).await;
    let anchored = live(&config, 300).await;
    put_back(&database).await;
    std::fs::remove_dir_all(config.home.join("anchor")).unwrap();
    match opened(&config).await {
        Err(StartError::Unanchored(Unanchored::Ahead { place, anchored: known, .. })) => {
            assert_eq!((place.as_str(), known), ("s3://audit-copies/checkpoint", anchored));
        }
        _ => unreachable!("it opened"),
    }
    let done = host::recover_forward(&config, &Clock::machine(), &|_| ()).await.unwrap();
    assert_eq!(done.anchored, anchored);
    assert!(live(&config, 1).await > anchored);
    // A store that is away, or that does not know the key, keeps nobody from starting.
    config.bucket.secret = Some(Zeroizing::new("another".into()));
    store.asked();
    live(&config, 1).await;
    let (asked, unsigned) = store.asked();
    assert!(asked.is_empty() && unsigned > 0, "{asked:?}");
    drop(store);
    live(&config, 1).await;
}
