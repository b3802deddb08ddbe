//! The key that signs the log changes while servers serve, and a stolen one signs no more.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use custodia::{
    clock::Clock,
    config::Config,
    host::{
        self, Continued, NewLogKey, Parts, Presence, Range, RecoveryError, Rotation, RotationError,
        StartError,
    },
    seal::LogSecrets,
    store::cluster::Role,
};
use custodia_audit::{
    Checkpoint, Control, Leaf, Policy, Signer, Vkey,
    bundle::{Reason, Trust, verify},
};
use custodia_support::{
    cluster::TestCluster,
    server::{ORIGIN, TestServer},
};
use tokio::task::JoinSet;

fn policy_file(config: &Config) -> PathBuf {
    config.home.join("log.policy")
}

async fn rotate(config: &Config, step: Rotation) -> Result<host::Rotated, RotationError> {
    host::rotate_log(config, &Clock::machine(), step, &policy_file(config), &|_| ()).await
}

async fn checkpoint(server: &TestServer) -> (String, Checkpoint) {
    server.app().ledger.reader().checkpoint().await.unwrap()
}

/// Who of these signed a checkpoint.
fn signed_by(note: &str, keys: &[&Vkey]) -> Vec<bool> {
    let signed = |key: &&Vkey| Checkpoint::open(note.as_bytes(), ORIGIN, &[(*key).clone()], 0).is_ok();
    keys.iter().map(signed).collect()
}

/// An export, and whether it verifies for whoever knows this key alone.
async fn exported(config: &Config, key: &Vkey, earlier: Option<&str>) -> Result<u64, Reason> {
    let parts = Parts::open(config, &Clock::machine(), Presence::Visitor, &|_| ()).await.unwrap();
    let range = Range { earlier: earlier.map(str::to_owned).into_iter().collect(), ..Range::default() };
    let (file, _) = host::export(&parts, &range, Vec::new()).await.unwrap();
    parts.close().await.unwrap();
    let earlier =
        earlier.map(|note| Checkpoint::open(note.as_bytes(), ORIGIN, std::slice::from_ref(key), 0).unwrap());
    let report = verify(file.as_slice(), &Trust::of_log(key, earlier), |_| ());
    report.map(|report| report.size).map_err(|fault| fault.reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_signs_beside_the_old_one_and_then_alone_while_servers_serve() {
    let mirrored = |config: &mut Config| config.ledger.mirror = Some(config.home.join("mirror"));
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), mirrored).await;
    let other = server.another().await;
    let config = server.config().clone();
    let serve = async || {
        for ledger in [&server.app().ledger, &other.app().ledger] {
            ledger.heartbeat().await.unwrap();
            assert_eq!(server.anybody().get("/fhir/metadata").await.status, 200);
        }
    };
    serve().await;
    let old = host::vkeys(&config).await.unwrap().pop().unwrap();
    assert!(matches!(rotate(&config, Rotation::Finish).await, Err(RotationError::NotBegun)));

    let prepared = rotate(&config, Rotation::Prepare).await.unwrap();
    let [new] = <[Vkey; 1]>::try_from(prepared.waiting).unwrap();
    assert_eq!(prepared.signing, std::slice::from_ref(&old));
    serve().await;
    assert_eq!(signed_by(&checkpoint(&server).await.0, &[&old, &new]), [true, false]);
    assert!(exported(&config, &new, None).await.is_err());

    // Twice, as after a crash: the second does nothing more.
    for _ in 0..2 {
        let begun = rotate(&config, Rotation::Begin).await.unwrap();
        assert_eq!((begun.signing, begun.waiting), (vec![old.clone(), new.clone()], vec![]));
    }
    assert_eq!(host::vkeys(&config).await.unwrap(), [old.clone(), new.clone()]);
    let policy = Policy::parse(&std::fs::read(policy_file(&config)).unwrap()).unwrap();
    assert_eq!(policy.keys(ORIGIN), [old.clone(), new.clone()]);
    // Servers that knew nothing of it sign with both from their next entry on.
    serve().await;
    let (overlap, _) = checkpoint(&server).await;
    assert_eq!(signed_by(&overlap, &[&old, &new]), [true, true]);
    for key in [&old, &new] {
        exported(&config, key, None).await.unwrap();
    }
    for running in [server.app(), other.app()] {
        running.anchors.round(&running.ledger).await;
        assert_eq!(running.anchors.counts().mirror_failures(), 0);
    }

    let finished = rotate(&config, Rotation::Finish).await.unwrap();
    assert_eq!(finished.signing, std::slice::from_ref(&new));
    let policy = Policy::parse(&std::fs::read(policy_file(&config)).unwrap()).unwrap();
    assert_eq!(policy.keys(ORIGIN), std::slice::from_ref(&new));
    serve().await;
    let (after, head) = checkpoint(&server).await;
    assert_eq!(signed_by(&after, &[&old, &new]), [false, true]);
    assert!(exported(&config, &old, None).await.is_err());
    assert!(exported(&config, &new, Some(&overlap)).await.unwrap() > head.size);
    for running in [server.app(), other.app()] {
        running.anchors.round(&running.ledger).await;
        assert_eq!(running.anchors.counts().mirror_failures(), 0);
    }
    assert!(matches!(rotate(&config, Rotation::Finish).await, Err(RotationError::NotBegun)));
    // The old secret is gone, for good.
    let file = std::fs::read_to_string(config.keystore_path()).unwrap();
    let keystore = server.app().keyring.keystore();
    keystore.reload_log_keys().unwrap();
    assert!(keystore.log_secrets().with_publics(ORIGIN, &[*old.public()]).unwrap().is_none());
    assert!(file.contains("custodia-keystore/1"));

    // Both steps are entries.
    let mut steps = Vec::new();
    for index in 0..head.size {
        let leaf = server.app().ledger.reader().leaf(index).await.unwrap();
        match Leaf::from_bytes(&leaf) {
            Ok(Leaf::Control(Control::KeyRotation { old_vkey, new_vkey, .. })) => {
                steps.push((index, [old_vkey, new_vkey]));
            }
            Ok(Leaf::Control(Control::KeyRetirement { vkey, .. })) => {
                steps.push((index, [vkey, String::new()]));
            }
            _ => {}
        }
    }
    let keys = [old.to_string(), new.to_string()];
    let expected = [keys.clone(), [old.to_string(), String::new()]];
    assert_eq!(steps.iter().map(|(_, keys)| keys.clone()).collect::<Vec<_>>(), expected);
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_keystore_lacks_the_new_key_signs_nothing() {
    let server = TestServer::start().await;
    let config = server.config().clone();
    // A second machine: a keystore of its own, which nobody has copied the new key to.
    let mut far = config.clone();
    far.home = config.home.join("far");
    std::fs::create_dir(&far.home).unwrap();
    far.keystore.path = Some(far.home.join("keystore.json"));
    std::fs::copy(config.keystore_path(), far.keystore_path()).unwrap();
    far.keystore.key_file = Some(config.keystore_key_file());
    let other = host::start(far.clone(), Clock::machine()).await.unwrap();
    other.app().ledger.heartbeat().await.unwrap();

    rotate(&config, Rotation::Begin).await.unwrap();
    let (note, head) = checkpoint(&server).await;
    for _ in 0..2 {
        assert!(other.app().ledger.heartbeat().await.is_err());
    }
    assert_eq!(checkpoint(&server).await.0, note, "nothing was signed");
    // A start says what to do.
    let why = match Parts::open(&far, &Clock::machine(), Presence::Visitor, &|_| ()).await {
        Err(StartError::Ledger(why)) => why.to_string(),
        _ => unreachable!("it opened"),
    };
    assert!(why.contains("custodia keys rotate-log"), "{why}");
    // With the copy it goes on, without a restart. It reads its file at most once a second: until then it signs nothing.
    std::fs::copy(config.keystore_path(), far.keystore_path()).unwrap();
    let again = async { while other.app().ledger.heartbeat().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    let (note, next) = checkpoint(&server).await;
    assert_eq!(next.size, head.size + 1);
    let keys = host::vkeys(&config).await.unwrap();
    assert_eq!(signed_by(&note, &[&keys[0], &keys[1]]), [true, true]);

    // The end comes with a keystore that still has the old secret: it is not used.
    rotate(&config, Rotation::Finish).await.unwrap();
    other.app().ledger.heartbeat().await.unwrap();
    let (note, _) = checkpoint(&server).await;
    assert_eq!(signed_by(&note, &[&keys[0], &keys[1]]), [false, true]);
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_taken_off_the_head_is_not_signed_over() {
    let server = TestServer::start().await;
    rotate(server.config(), Rotation::Begin).await.unwrap();
    let ledger = &server.app().ledger;
    ledger.heartbeat().await.unwrap();
    let (note, _) = checkpoint(&server).await;
    let (rest, _) = note.trim_end().rsplit_once('\n').unwrap();
    let owner = server.database().connect(Role::Owner).await;
    owner.execute("UPDATE ledger_head SET checkpoint = $1", &[&format!("{rest}\n")]).await.unwrap();
    for _ in 0..2 {
        assert!(ledger.heartbeat().await.is_err());
    }
    owner.execute("UPDATE ledger_head SET checkpoint = $1", &[&note]).await.unwrap();
    ledger.heartbeat().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_under_load_agree_through_a_whole_rotation() {
    let server = TestServer::start().await;
    let other = server.another().await;
    let config = server.config().clone();
    let old = host::vkeys(&config).await.unwrap().pop().unwrap();
    let before = checkpoint(&server).await.1.size;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..8 {
        let ledger = Arc::clone(if number % 2 == 0 { &server.app().ledger } else { &other.app().ledger });
        let stop = Arc::clone(&stop);
        writers.spawn(async move {
            let mut count = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                ledger.heartbeat().await.expect("it is committed throughout");
                count += 1;
            }
            count
        });
    }
    rotate(&config, Rotation::Begin).await.unwrap();
    let overlap = checkpoint(&server).await.0;
    rotate(&config, Rotation::Finish).await.unwrap();
    let (_, ended) = checkpoint(&server).await;
    while checkpoint(&server).await.1.size < ended.size + 50 {
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::SeqCst);
    let written: u64 = writers.join_all().await.into_iter().sum();
    let new = host::vkeys(&config).await.unwrap().pop().unwrap();
    assert_eq!(signed_by(&overlap, &[&old, &new]), [true, true]);
    let size = exported(&config, &new, Some(&overlap)).await.unwrap();
    // The starts of both commands and of the export, and the two steps.
    assert_eq!(size, before + written + 3 + 2);
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_theft_a_new_log_with_a_new_key_commits_to_the_last_witnessed_checkpoint() {
    let server = TestServer::start().await;
    let (witnessed, head) = checkpoint(&server).await;
    let (mut config, _database, _folder) = server.stop().await;
    let stolen = host::vkeys(&config).await.unwrap().pop().unwrap();
    let cosigner = custodia_audit::Cosigner::from_seed("w.test/1", &[1; 32]).unwrap();
    let file = config.home.join("policy");
    let url = "http://127.0.0.1:1";
    std::fs::write(&file, format!("witness w {} {url}\nquorum w\n", cosigner.vkey())).unwrap();
    config.ledger.policy = Some(file);
    config.ledger.origin = Some("records.test/second".into());
    config.ledger.shard = 1;
    let kept = config.home.join("kept");
    let anew = async |text: &str| {
        std::fs::write(&kept, text).unwrap();
        host::recover_anew(
            &config,
            &Clock::machine(),
            Continued { file: &kept, logs: None, key: NewLogKey::Fresh },
            &|_| (),
        )
        .await
    };
    // What the thief may have signed since is not continued.
    assert!(matches!(anew(&witnessed).await, Err(RecoveryError::NotCosigned(_))));
    assert_eq!(host::vkeys(&config).await.unwrap()[0].public(), stolen.public(), "nothing has changed");
    let line = cosigner.cosign(&head, 1_700_000_000).unwrap();
    anew(&format!("{witnessed}{line}")).await.unwrap();

    let fresh = host::vkeys(&config).await.unwrap();
    assert!(fresh.len() == 1 && fresh[0].public() != stolen.public());
    config.ledger.policy = None;
    let parts = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| ()).await.unwrap();
    let Ok(Leaf::Control(Control::ShardLink { origin, size, root, .. })) =
        Leaf::from_bytes(&parts.ledger.reader().leaf(0).await.unwrap())
    else {
        unreachable!("the first entry is another")
    };
    assert_eq!((origin.as_str(), size, root), (ORIGIN, head.size, head.root.0));
    let (note, _) = parts.ledger.reader().checkpoint().await.unwrap();
    let known = |key: &Vkey| {
        let key = Vkey::new("records.test/second", key.kind(), *key.public()).unwrap();
        Checkpoint::open(note.as_bytes(), "records.test/second", &[key], 0).is_ok()
    };
    assert!(known(&fresh[0]) && !known(&stolen));
    parts.close().await.unwrap();
    // The old log is closed: nobody has its key, and no server opens it.
    config.ledger.origin = Some(ORIGIN.into());
    config.ledger.shard = 0;
    let opened = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| ()).await;
    assert!(matches!(opened, Err(StartError::Ledger(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_broke_off_at_any_step_is_gone_on_with() {
    let server = TestServer::start().await;
    let config = server.config().clone();
    let keystore = server.app().keyring.keystore();
    let old = host::vkeys(&config).await.unwrap().pop().unwrap();
    // After the entry, before the keystore says that both sign.
    keystore.change_log_keys(LogSecrets::prepare).unwrap();
    server.app().ledger.shards()[0].begin_rotation().await.unwrap();
    assert_eq!(host::vkeys(&config).await.unwrap(), std::slice::from_ref(&old));
    let begun = rotate(&config, Rotation::Begin).await.unwrap();
    assert_eq!(begun.signing.len(), 2);
    assert_eq!(host::vkeys(&config).await.unwrap(), begun.signing);
    // A step is taken once.
    assert!(server.app().ledger.shards()[0].begin_rotation().await.is_err());
    // After the last entry, before the keystore destroys the old secret.
    server.app().ledger.shards()[0].end_rotation().await.unwrap();
    assert!(server.app().ledger.shards()[0].end_rotation().await.is_err());
    let finished = rotate(&config, Rotation::Finish).await.unwrap();
    assert_eq!(finished.signing, begun.signing[1..]);
    assert_eq!(host::vkeys(&config).await.unwrap(), finished.signing);
    assert!(!finished.signing.contains(&old));
    server.app().ledger.heartbeat().await.unwrap();
}

/// A signer of the log under a keystore's own key, as a thief of it would have.
pub(crate) fn thief(server: &Parts) -> Signer {
    server.keyring.keystore().log_secrets().first(ORIGIN).unwrap()
}
