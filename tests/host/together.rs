//! A server over a given database: requests, accounts, exports, a second server.

use custodia::{
    clock::Clock,
    host::{Parts, Presence, Range, RegisterError, Registry},
    identity::{Account, Contract, Credentials, PasswordHash, Profile, Purpose, Thumbprint},
    tenant::TenantId,
};
use custodia_audit::{
    Checkpoint,
    bundle::{Trust, verify},
};

use super::{Client, House, exported, stop};

const PASSWORD: &str = "correct-horse-battery";

fn profile(tenant: TenantId, name: &str) -> Profile {
    Profile {
        tenant,
        tenant_name: "north".to_owned(),
        name: name.to_owned(),
        roles: vec!["physician".to_owned()],
        organisation: None,
        practitioner: None,
        scopes: "user/*.cruds".to_owned(),
        purposes: vec![Purpose::Treat],
        default_purpose: Purpose::Treat,
        disabled: false,
    }
}

fn account(profile: Profile, credentials: Credentials) -> Account {
    let clock = Clock::machine();
    Account::register(clock.random_id(), clock.now(), profile, credentials).unwrap()
}

fn user(tenant: TenantId, name: &str) -> Account {
    account(profile(tenant, name), Credentials::User { password: PasswordHash::make(PASSWORD).unwrap() })
}

async fn parts(house: &House) -> Parts {
    Parts::open(&house.config, &Clock::machine(), Presence::Visitor, &|_| ()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_answers_counts_and_is_ready() {
    let house = House::new().await;
    let running = house.start().await;
    let client = Client::of(&running, &house.root);
    assert_eq!(client.get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(client.get("/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(client.get("/fhir/metadata").await.0, 200);
    assert_eq!(client.get("/fhir/Patient/1").await.0, 401);
    let (status, text) = client.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "custodia_requests_total{interaction=\"capabilities\",door=\"portal\",class=\"2xx\"} 1\n",
        "custodia_requests_total{interaction=\"read\",door=\"portal\",class=\"4xx\"} 1\n",
        "custodia_request_duration_seconds_count{interaction=\"read\"} 1\n",
        "custodia_ledger_entries_total 3\n",
        "custodia_ledger_size 3\n",
        "custodia_tenants 1\n",
        "custodia_ready 1\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_added_beside_the_server_signs_in() {
    let house = House::new().await;
    let running = house.start().await;
    let tenant = Registry::from(&**running.app()).add_tenant("north").await.unwrap();
    assert!(tenant.0 > 0);
    let beside = parts(&house).await;
    let registry = Registry::from(&beside);
    registry.add_account(&user(tenant, "amara")).await.unwrap();

    let client = Client::of(&running, &house.root);
    let (status, text) = client.token("amara", PASSWORD).await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(client.token("amara", "wrong-horse-battery").await.0, 400);
    assert_eq!(client.token("nobody", PASSWORD).await.0, 400);

    let again = registry.add_account(&user(tenant, "amara")).await;
    assert!(matches!(again, Err(RegisterError::Taken)), "{:?}", again.err());
    let elsewhere = registry.add_account(&user(TenantId(99), "basil")).await;
    assert!(matches!(elsewhere, Err(RegisterError::NoTenant)));
    assert!(matches!(registry.add_tenant("north").await, Err(RegisterError::Taken)));
    assert!(matches!(registry.add_tenant("house").await, Err(RegisterError::Taken)));
    assert!(matches!(registry.tenant("house").await, Err(RegisterError::NoTenant)));
    assert!(matches!(registry.add_tenant("Nörth").await, Err(RegisterError::Name)));

    let (_, entries) = exported(&beside, Range::default()).await;
    for told in ["user-add", "tenant-add", "north/amara", "begun", "taken"] {
        assert!(entries.contains(told), "{told}: {entries}");
    }
    assert!(!entries.contains(PASSWORD));
    beside.close().await.unwrap();
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_is_registered_under_each_certificate() {
    let house = House::new().await;
    let parts = parts(&house).await;
    let registry = Registry::from(&parts);
    let tenant = registry.add_tenant("north").await.unwrap();
    let contract = Contract { reads: vec!["Patient".to_owned()], writes: Vec::new() };
    let partner = |name: &str, thumbprints: &[u8]| {
        let thumbprints = thumbprints.iter().map(|byte| Thumbprint([*byte; 32])).collect();
        account(profile(tenant, name), Credentials::Partner { thumbprints, contract: contract.clone() })
    };
    registry.add_account(&partner("lab", &[1, 2])).await.unwrap();
    let second = registry.add_account(&partner("other-lab", &[3, 2])).await;
    assert!(matches!(second, Err(RegisterError::Taken)));
    registry.add_account(&partner("other-lab", &[3])).await.unwrap();
    parts.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_recorded_and_continues_the_earlier_one() {
    let house = House::new().await;
    let running = house.start().await;
    let client = Client::of(&running, &house.root);
    let parts = parts(&house).await;
    let (earlier, _) = parts.ledger.reader().checkpoint().await.unwrap();
    // More than a full tile of entries, so that the export holds one.
    for _ in 0..300 {
        assert_eq!(client.get("/fhir/Patient/1").await.0, 401);
    }
    let (report, _) = exported(&parts, Range::default()).await;
    assert!(report.is_whole);
    assert_eq!(report.counts.control, 2, "two starts; the export's own entry comes after");
    assert_eq!(report.counts.opened, 300);
    let (second, entries) = exported(&parts, Range::default()).await;
    assert_eq!(second.size, report.size + 1);
    assert!(entries.contains("export"), "{entries}");

    let range = Range { first: 5, end: Some(290), earlier: vec![earlier.clone()], ..Range::default() };
    let (file, count) = custodia::host::export(&parts, &range, Vec::new()).await.unwrap();
    assert_eq!(count, 285);
    let vkey = parts.ledger.vkey().clone();
    let earlier =
        Checkpoint::open(earlier.as_bytes(), parts.ledger.origin(), std::slice::from_ref(&vkey), 0).unwrap();
    let size = earlier.size;
    let trust = Trust::of_log(&vkey, Some(earlier));
    let report = verify(file.as_slice(), &trust, |_| ()).unwrap();
    assert_eq!(report.continues, Some(size));
    assert!(!report.is_whole);

    for range in [
        Range { first: 2, end: Some(1), ..Range::default() },
        Range { end: Some(1_000), ..Range::default() },
        Range { earlier: vec!["nonsense".to_owned()], ..Range::default() },
    ] {
        assert!(custodia::host::export(&parts, &range, Vec::new()).await.is_err());
    }
    parts.close().await.unwrap();
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_for_a_tenant_withholds_the_others() {
    let house = House::new().await;
    let running = house.start().await;
    let parts = parts(&house).await;
    let registry = Registry::from(&parts);
    let tenant = registry.add_tenant("north").await.unwrap();
    assert_eq!(Client::of(&running, &house.root).get("/fhir/Patient/1").await.0, 401);
    let range = Range { tenant: Some((tenant, "north".to_owned())), ..Range::default() };
    let (report, entries) = exported(&parts, range).await;
    assert_eq!((report.counts.opened, report.counts.withheld), (0, 3), "{entries}");
    assert!(report.is_whole);
    parts.close().await.unwrap();
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_write_one_log() {
    let house = House::new().await;
    let (one, other) = (house.start().await, house.start().await);
    let (first, second) = (Client::of(&one, &house.root), Client::of(&other, &house.root));
    for _ in 0..20 {
        let (one, other) = tokio::join!(first.get("/fhir/Patient/1"), second.get("/fhir/Patient/1"));
        assert_eq!((one.0, other.0), (401, 401));
    }
    let parts = parts(&house).await;
    let (report, _) = exported(&parts, Range::default()).await;
    assert_eq!((report.counts.opened, report.counts.control), (40, 3));
    parts.close().await.unwrap();
    stop(one).await;
    stop(other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_handshake_is_recorded() {
    let house = House::new().await;
    let running = house.start().await;
    let socket = tokio::net::TcpStream::connect(running.portal()).await.unwrap();
    let mut socket = socket;
    tokio::io::AsyncWriteExt::write_all(&mut socket, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    drop(tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut rest).await);
    // What the edge has told is recorded before the server is gone.
    stop(running).await;
    let parts = parts(&house).await;
    let (_, entries) = exported(&parts, Range::default()).await;
    assert!(entries.contains("handshake-failed") && entries.contains("127.0.0.1"), "{entries}");
    parts.close().await.unwrap();
}
