//! One client of the chaos: mixed requests, and a strict account of the answers.
//!
//! Each client changes only what it created, so it knows what every record of its own must be.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use hyper::Method;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Shared,
    account::{Account, Receipt, Touched, Written},
};
use crate::{
    caller::Caller,
    client::{Call, Keep, NoAnswer, Reply},
    deck::{BASE, uri},
    fault::Fault,
    random::Random,
    records,
    workload::{Step, Workload},
};

/// What a client waits after a request without an answer.
const AFTER_ERROR: Duration = Duration::from_millis(25);

/// A request, and what is known about it before the answer.
enum Asked {
    Create {
        patient: String,
        number: u64,
    },
    Update {
        place: usize,
        number: u64,
    },
    /// Of a record of our own, by its place.
    ReadOwn(usize),
    Other,
}

/// Asks until it is over.
pub(super) async fn run(
    mut caller: Caller,
    shared: Arc<Shared>,
    mut random: Random,
) -> Result<Account, Fault> {
    let mut account = Account::default();
    while !shared.is_over.load(Ordering::Relaxed) {
        let step = Step::draw(Workload::Mixed, &mut random);
        let (step, asked, call) = ask(step, &account, &shared, &mut random)?;
        match caller.send(call, Keep::Body).await {
            Ok(reply) => {
                if let Some(index) = reply.receipt() {
                    shared.receipts_end.fetch_max(index + 1, Ordering::Relaxed);
                }
                answered(&mut account, step, asked, &reply);
                if reply.status.as_u16() >= 500 {
                    sleep(AFTER_ERROR).await;
                }
            }
            Err(none) => {
                unanswered(&mut account, asked, none);
                sleep(AFTER_ERROR).await;
            }
        }
    }
    Ok(account)
}

/// Makes the request. Before the first record of its own, a client creates instead of updating.
fn ask(
    step: Step,
    account: &Account,
    shared: &Shared,
    random: &mut Random,
) -> Result<(Step, Asked, Call), Fault> {
    let empty = || Fault::refused("nothing was seeded");
    let place = random.place(account.written.len());
    let own = place.and_then(|place| Some((place, account.written.get(place)?)));
    let number = random.next();
    Ok(match (step, own) {
        (Step::Update, Some((place, written))) => {
            let text = records::observation(&written.patient, Some(&written.id), number);
            let call = Call::send(Method::PUT, uri(&format!("{BASE}/Observation/{}", written.id))?, text);
            (Step::Update, Asked::Update { place, number }, call)
        }
        (Step::Read, Some((place, written))) if number.is_multiple_of(2) => {
            let call = Call::get(uri(&format!("{BASE}/Observation/{}", written.id))?);
            (Step::Read, Asked::ReadOwn(place), call)
        }
        (Step::Create | Step::Update, _) => {
            let patient = random.pick(&shared.deck.patients).ok_or_else(empty)?.clone();
            let text = records::observation(&patient, None, number);
            let call = Call::send(Method::POST, shared.deck.observation.clone(), text);
            (Step::Create, Asked::Create { patient, number }, call)
        }
        (step, _) => (step, Asked::Other, step.call(&shared.deck, 1, random).ok_or_else(empty)?),
    })
}

/// An answer came, whole.
fn answered(account: &mut Account, step: Step, asked: Asked, reply: &Reply) {
    let status = reply.status.as_u16();
    let is_right = status == step.expected();
    match reply.receipt() {
        Some(index) => {
            let touched = if is_right { touched(step, reply) } else { Some(Vec::new()) };
            if touched.is_none() {
                account.violations.push(format!("{step:?}: the answer does not say which versions it holds"));
            }
            account.receipts.push(Receipt { index, status, touched: touched.unwrap_or_default() });
        }
        // The one answer without an entry is the empty one of a server that cannot write its log.
        None if status == 503 && reply.length == 0 => {}
        None => account.violations.push(format!("{step:?} was answered {status} without a receipt")),
    }
    if is_right {
        acknowledged(account, asked, reply);
        return;
    }
    doubt(account, asked);
    if status >= 500 {
        account.refused += 1;
    } else {
        account.violations.push(format!("{step:?} was answered {status}"));
    }
}

fn unanswered(account: &mut Account, asked: Asked, none: NoAnswer) {
    account.unanswered += 1;
    doubt(account, asked);
    if let Some(index) = none.receipt {
        account.receipts.push(Receipt { index, status: 0, touched: Vec::new() });
    }
}

/// An update of unknown fate.
fn doubt(account: &mut Account, asked: Asked) {
    if let Asked::Update { place, number } = asked
        && let Some(written) = account.written.get_mut(place)
    {
        written.doubts.push(number);
    }
}

fn acknowledged(account: &mut Account, asked: Asked, reply: &Reply) {
    match asked {
        Asked::Create { patient, number } => {
            account.writes += 1;
            let Some(located) = reply.location() else {
                account.violations.push("a creation was acknowledged without a Location".to_owned());
                return;
            };
            let version = located.version.or_else(|| reply.version()).unwrap_or(1);
            account.written.push(Written { id: located.id, patient, version, number, doubts: Vec::new() });
        }
        Asked::Update { place, number } => {
            account.writes += 1;
            let wrong = match (account.written.get_mut(place), reply.version()) {
                (Some(written), Some(version)) => written.acknowledge(version, number),
                _ => Some("an update was acknowledged without a version".to_owned()),
            };
            account.violations.extend(wrong);
        }
        Asked::ReadOwn(place) => {
            let Some(written) = account.written.get(place) else { return };
            if reply.version().is_none_or(|version| version < written.version) {
                let text = format!("Observation/{} was read older than acknowledged", written.id);
                account.violations.push(text);
            }
        }
        Asked::Other => {}
    }
}

/// The versions a right answer released or wrote; `None` if it does not say.
fn touched(step: Step, reply: &Reply) -> Option<Vec<Touched>> {
    let parse = || serde_json::from_slice::<Value>(&reply.body).ok();
    match step {
        Step::Create => {
            let located = reply.location()?;
            let version = located.version.or_else(|| reply.version())?;
            Some(vec![Touched { id: located.id, version }])
        }
        Step::Read | Step::Update if !reply.body.is_empty() => Some(vec![of_resource(&parse()?)?]),
        Step::Read => None,
        // `Prefer: return=minimal` or a server that answers nothing: the entry is checked by its index alone.
        Step::Update => Some(Vec::new()),
        Step::Search => match parse()?.get("entry") {
            None => Some(Vec::new()),
            Some(entries) => {
                entries.as_array()?.iter().map(|entry| of_resource(entry.get("resource")?)).collect()
            }
        },
        Step::Transaction | Step::Proof | Step::Miss => Some(Vec::new()),
    }
}

fn of_resource(resource: &Value) -> Option<Touched> {
    let id = resource.get("id")?.as_str()?.to_owned();
    let version = resource.get("meta")?.get("versionId")?.as_str()?.parse().ok()?;
    Some(Touched { id, version })
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, StatusCode, header::HeaderValue};

    use super::*;

    fn reply(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Reply {
        let pairs = headers.iter().map(|(name, value)| {
            (hyper::header::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        let status = StatusCode::from_u16(status).unwrap_or_default();
        Reply { status, headers: HeaderMap::from_iter(pairs), body: body.into(), length: body.len() }
    }

    const RECEIPT: (&str, &str) = ("custodia-receipt", "clinic/9");
    const OBSERVATION: &str = r#"{"resourceType":"Observation","id":"a","meta":{"versionId":"2"}}"#;

    fn account() -> Account {
        let (id, patient) = ("a".to_owned(), "p".to_owned());
        let written = vec![Written { id, patient, version: 2, number: 1, doubts: Vec::new() }];
        Account { written, ..Account::default() }
    }

    #[test]
    fn a_creation_is_remembered_with_its_receipt() {
        let mut account = Account::default();
        let reply = reply(201, &[RECEIPT, ("location", "/fhir/Observation/x/_history/1")], "");
        answered(&mut account, Step::Create, Asked::Create { patient: "p".to_owned(), number: 5 }, &reply);
        assert_eq!(account.violations(), Vec::<String>::new());
        let touched = vec![Touched { id: "x".to_owned(), version: 1 }];
        assert_eq!(account.receipts, [Receipt { index: 9, status: 201, touched }]);
        assert_eq!(account.written.first().map(|written| (written.version, written.number)), Some((1, 5)));
    }

    #[test]
    fn a_success_without_a_receipt_is_a_violation_and_an_empty_503_is_none() {
        for (status, body, is_violation) in
            [(200, OBSERVATION, true), (503, "", false), (503, "{}", true), (500, "", true)]
        {
            let mut account = account();
            answered(
                &mut account,
                Step::Read,
                Asked::ReadOwn(0),
                &reply(status, &[("etag", "W/\"2\"")], body),
            );
            assert_eq!(!account.violations().is_empty(), is_violation, "{status} {body}");
        }
    }

    #[test]
    fn reading_an_older_version_than_acknowledged_is_a_violation() {
        for (etag, is_violation) in [("W/\"1\"", true), ("W/\"2\"", false), ("W/\"3\"", false), ("x", true)] {
            let mut account = account();
            answered(
                &mut account,
                Step::Read,
                Asked::ReadOwn(0),
                &reply(200, &[RECEIPT, ("etag", etag)], OBSERVATION),
            );
            assert_eq!(!account.violations().is_empty(), is_violation, "{etag}");
        }
    }

    #[test]
    fn an_update_without_an_answer_is_in_doubt_and_a_refused_one_of_ours_a_violation() {
        let mut account = account();
        let asked = || Asked::Update { place: 0, number: 8 };
        unanswered(&mut account, asked(), NoAnswer { why: "connection", receipt: Some(4) });
        answered(&mut account, Step::Update, asked(), &reply(503, &[], ""));
        assert_eq!(account.written.first().map(|written| written.doubts.len()), Some(2));
        assert_eq!((account.unanswered, account.refused, account.indexes()), (1, 1, vec![4]));
        assert_eq!(account.violations(), Vec::<String>::new());
        answered(&mut account, Step::Update, asked(), &reply(404, &[RECEIPT], "{}"));
        assert_eq!(account.violations(), ["Update was answered 404"]);
    }

    #[test]
    fn a_search_touches_every_version_in_its_bundle() {
        let body = format!(r#"{{"resourceType":"Bundle","entry":[{{"resource":{OBSERVATION}}}]}}"#);
        let found = touched(Step::Search, &reply(200, &[], &body));
        assert_eq!(found, Some(vec![Touched { id: "a".to_owned(), version: 2 }]));
        assert_eq!(touched(Step::Search, &reply(200, &[], r#"{"resourceType":"Bundle"}"#)), Some(Vec::new()));
        assert_eq!(touched(Step::Search, &reply(200, &[], r#"{"entry":[{}]}"#)), None);
    }
}
