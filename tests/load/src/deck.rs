//! The records a run works on: seeded through transaction Bundles.
//!
//! Imports `caller`, `client`, `fault`, `random`, `records`.

use std::sync::Arc;

use hyper::{Method, Uri};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::{
    caller::Caller,
    client::{Call, Keep, Located},
    fault::Fault,
    random::Random,
    records::{self, Transaction},
};

/// How many connections seed at a time.
const SEEDERS: usize = 4;
/// Entries of a seeding Bundle.
const BUNDLE_ENTRIES: u64 = 100;
/// The most records of one type that are seeded.
pub(crate) const SEED_MAX: u64 = 1_000_000;
/// The path of the FHIR base on every door.
pub(crate) const BASE: &str = "/fhir";

/// One seeded Observation.
pub(crate) struct Seeded {
    /// Its logical id.
    pub(crate) id: String,
    /// Its patient's.
    pub(crate) patient: String,
    /// Where it is.
    pub(crate) uri: Uri,
}

/// What requests are drawn from.
pub(crate) struct Deck {
    /// Ids of the patients.
    pub(crate) patients: Vec<String>,
    /// The search for each patient's Observations.
    pub(crate) searches: Vec<Uri>,
    /// The Observations.
    pub(crate) observations: Vec<Seeded>,
    /// `/fhir`
    pub(crate) base: Uri,
    /// `/fhir/Observation`
    pub(crate) observation: Uri,
    /// Entries in the log when everything was seeded.
    pub(crate) log_size: u64,
}

/// How much to seed, and for whom.
pub(crate) struct Seed<'a> {
    /// How many Patients.
    pub(crate) patients: u64,
    /// How many Observations, spread over them.
    pub(crate) observations: u64,
    /// The Practitioner they belong to, a reference.
    pub(crate) practitioner: &'a str,
    /// Of the random numbers.
    pub(crate) seed: u64,
}

impl Deck {
    /// Creates the records and remembers their ids.
    pub(crate) async fn deal(caller: &Caller, seed: &Seed<'_>) -> Result<Arc<Self>, Fault> {
        if seed.patients == 0 || seed.observations == 0 {
            return Err(Fault::refused("at least one patient and one observation must be seeded"));
        }
        let resources = (0..seed.patients).map(|number| records::patient(seed.practitioner, number));
        let patients = create_all(caller, "Patient", resources.collect(), seed.seed).await?;
        let owner = |number: u64| {
            let place = usize::try_from(number % seed.patients).unwrap_or_default();
            patients.get(place).cloned().unwrap_or_default()
        };
        let resources =
            (0..seed.observations).map(|number| records::observation(&owner(number), None, number));
        let ids = create_all(caller, "Observation", resources.collect(), seed.seed).await?;
        let observations = (0..).zip(ids).map(|(number, id)| {
            Ok(Seeded { uri: uri(&format!("{BASE}/Observation/{id}"))?, id, patient: owner(number) })
        });
        let observations = observations.collect::<Result<_, Fault>>()?;
        let search = |patient: &String| uri(&format!("{BASE}/Observation?patient={patient}&_count=20"));
        let searches = patients.iter().map(search).collect::<Result<_, Fault>>()?;
        let observation = uri(&format!("{BASE}/Observation"))?;
        let log_size = log_size(caller.clone()).await?;
        Ok(Arc::new(Self { patients, searches, observations, base: uri(BASE)?, observation, log_size }))
    }
}

/// The size of the log, by the receipt of an answer.
async fn log_size(mut caller: Caller) -> Result<u64, Fault> {
    let answer = caller.send(Call::get(uri(&format!("{BASE}/metadata"))?), Keep::Body).await;
    let receipt = answer.ok().and_then(|reply| reply.receipt());
    Ok(receipt.ok_or_else(|| Fault::refused("an answer without a receipt"))? + 1)
}

/// A path as a request target.
pub(crate) fn uri(path: &str) -> Result<Uri, Fault> {
    path.parse().map_err(|_| Fault::refused("an id makes no path"))
}

/// Creates resources of one type in Bundles; gives their ids in the same order.
pub(crate) async fn create_all(
    caller: &Caller,
    kind: &str,
    resources: Vec<String>,
    seed: u64,
) -> Result<Vec<String>, Fault> {
    let mut bundles = (0_u64..).zip(resources.chunks(usize::try_from(BUNDLE_ENTRIES).unwrap_or(1)));
    let mut tasks = JoinSet::new();
    let mut created = Vec::new();
    loop {
        while tasks.len() < SEEDERS
            && let Some((number, chunk)) = bundles.next()
        {
            let mut random = Random::new(seed, number);
            let mut bundle = Transaction::new();
            chunk.iter().for_each(|resource| bundle.create(kind, resource, random.uuid()));
            tasks.spawn(create(caller.clone(), kind.to_owned(), bundle.finish(), number));
        }
        let Some(ended) = tasks.join_next().await else { break };
        created.push(ended.map_err(|_| Fault::refused("a seeding task failed"))??);
    }
    created.sort_unstable_by_key(|(number, _)| *number);
    let ids: Vec<_> = created.into_iter().flat_map(|(_, ids)| ids).collect();
    if ids.len() == resources.len() {
        return Ok(ids);
    }
    Err(Fault::refused(format!("{} of {} {kind} resources were created", ids.len(), resources.len())))
}

async fn create(
    mut caller: Caller,
    kind: String,
    bundle: String,
    number: u64,
) -> Result<(u64, Vec<String>), Fault> {
    let answer = caller.send(Call::send(Method::POST, uri(BASE)?, bundle), Keep::Body).await;
    let reply = answer.map_err(|none| Fault::refused(format!("seeding {kind}: {}", none.why)))?;
    if reply.status != 200 {
        let said = String::from_utf8_lossy(&reply.body);
        let said: String = said.chars().take(600).collect();
        return Err(Fault::refused(format!("seeding {kind}: status {}: {said}", reply.status)));
    }
    Ok((number, created_ids(&reply.body, &kind)?))
}

#[derive(Deserialize)]
struct Answer {
    entry: Vec<AnswerEntry>,
}

#[derive(Deserialize)]
struct AnswerEntry {
    response: AnswerResponse,
}

#[derive(Deserialize)]
struct AnswerResponse {
    status: String,
    location: Option<String>,
}

/// The ids of what a transaction's answer says was created.
fn created_ids(body: &[u8], kind: &str) -> Result<Vec<String>, Fault> {
    let wrong = || Fault::Json("a transaction's answer");
    let answer: Answer = serde_json::from_slice(body).map_err(|_| wrong())?;
    let id = |entry: AnswerEntry| {
        let located = Located::parse(entry.response.location.as_deref()?)?;
        (entry.response.status.starts_with("201") && located.kind == kind).then_some(located.id)
    };
    answer.entry.into_iter().map(|entry| id(entry).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn created_ids_come_from_locations_in_their_order() {
        let entry = |id: u8| {
            format!(r#"{{"response":{{"status":"201 Created","location":"Patient/{id}/_history/1"}}}}"#)
        };
        let body = format!(r#"{{"resourceType":"Bundle","entry":[{},{}]}}"#, entry(2), entry(1));
        assert_eq!(created_ids(body.as_bytes(), "Patient").unwrap(), ["2", "1"]);
        assert!(created_ids(body.as_bytes(), "Observation").is_err());
        assert!(created_ids(body.replace("201 Created", "200 OK").as_bytes(), "Patient").is_err());
        assert!(created_ids(b"{}", "Patient").is_err());
    }
}
