//! What happens to a record that is changed in the database, by its owner, past the server.
//!
//! The records are made for it, about two patients made for it, and deleted again: an interrupted tour leaves
//! nobody else's chart broken.

use serde_json::{Value, json};
use tokio_postgres::{NoTls, error::SqlState};

use super::{Cast, Held, Tour, TourError, held, is_outcome, is_resource};
use crate::demo::{client::Reply, people::PHYSICIAN};

/// A record made for the tour: its path and the index of the entry that recorded it, which the row names.
struct Made {
    path: String,
    entry: i64,
}

pub(super) async fn run(
    tour: &mut Tour,
    cast: &Cast,
    owner: &tokio_postgres::Config,
) -> Result<(), TourError> {
    let (sql, connection) = owner.connect(NoTls).await?;
    // It ends when `sql` is dropped; what fails is told by the statement that failed.
    let connection = tokio::spawn(connection);
    let outcome = steps(tour, cast, &sql).await;
    drop(sql);
    drop(connection.await);
    outcome
}

async fn steps(tour: &mut Tour, cast: &Cast, sql: &tokio_postgres::Client) -> Result<(), TourError> {
    let one = patient(cast, "Test One").await?;
    let two = patient(cast, "Test Two").await?;
    let first = observation(tour, cast, &one, "the physician records a temperature").await?;
    let second = observation(tour, cast, &two, "and another of another patient").await?;

    flip(sql, &first).await?;
    refused(tour, cast, &first, "one bit of it is flipped with SQL: it is not released").await?;
    flip(sql, &first).await?;
    whole(tour, cast, &first, "flipped back it is whole again").await?;

    swap(sql, &first, &second).await?;
    refused(tour, cast, &first, "the two are swapped: the first is not released").await?;
    refused(tour, cast, &second, "nor is the second").await?;
    swap(sql, &first, &second).await?;

    let before = reassign(sql, &first, &second).await?;
    refused(tour, cast, &first, "it is given to the other patient: it is not released").await?;
    let give_back = "UPDATE record SET owner = $2::text::uuid WHERE entry = $1";
    changed(sql.execute(give_back, &[&first.entry, &before]).await?, 1)?;
    whole(tour, cast, &first, "given back it is whole again").await?;

    for made in [&first, &second, &one, &two] {
        cast.physician.delete(&made.path).await?;
    }
    append_only(tour, sql).await
}

async fn patient(cast: &Cast, family: &str) -> Result<Made, TourError> {
    let resource = json!({
        "resourceType": "Patient",
        "name": [{ "family": family }],
        "generalPractitioner": [{ "reference": PHYSICIAN }],
    });
    let reply = cast.physician.post("/fhir/Patient", resource.to_string().into_bytes()).await?;
    made(&reply, "Patient").ok_or(TourError::Missing("the physician could not register a patient"))
}

async fn observation(tour: &mut Tour, cast: &Cast, patient: &Made, text: &str) -> Result<Made, TourError> {
    let subject = patient.path.trim_start_matches("/fhir/");
    let resource = json!({
        "resourceType": "Observation",
        "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "8310-5" }], "text": "Body temperature" },
        "subject": { "reference": subject },
        "valueQuantity": {
            "value": 37.5, "unit": "C", "system": "http://unitsofmeasure.org", "code": "Cel"
        },
    });
    let reply = cast.physician.post("/fhir/Observation", resource.to_string().into_bytes()).await?;
    tour.answer(text, &reply, 201, is_resource(&reply, "Observation"))?;
    made(&reply, "Observation").ok_or(TourError::Missing("the physician could not record an observation"))
}

fn made(reply: &Reply, kind: &str) -> Option<Made> {
    let json = reply.json();
    let id = json.get("id").and_then(Value::as_str).filter(|_| reply.status == 201)?;
    Some(Made { path: format!("/fhir/{kind}/{id}"), entry: i64::try_from(reply.receipt?).ok()? })
}

async fn refused(tour: &mut Tour, cast: &Cast, made: &Made, text: &str) -> Result<(), TourError> {
    let reply = cast.physician.get(&made.path).await?;
    let names = |words: &str| String::from_utf8_lossy(&reply.body).contains(words);
    let outcome =
        is_outcome(&reply, "exception").and(held(names("integrity"), "the outcome names no integrity check"));
    tour.answer(text, &reply, 500, outcome)?;
    Ok(())
}

async fn whole(tour: &mut Tour, cast: &Cast, made: &Made, text: &str) -> Result<(), TourError> {
    let reply = cast.physician.get(&made.path).await?;
    tour.answer(text, &reply, 200, is_resource(&reply, "Observation"))?;
    Ok(())
}

fn changed(rows: u64, expected: u64) -> Result<(), TourError> {
    if rows == expected { Ok(()) } else { Err(TourError::Missing("the row of a record was not found")) }
}

async fn flip(sql: &tokio_postgres::Client, made: &Made) -> Result<(), TourError> {
    let statement = "UPDATE record
        SET body = set_byte(body, octet_length(body) - 1, get_byte(body, octet_length(body) - 1) # 1)
        WHERE entry = $1";
    changed(sql.execute(statement, &[&made.entry]).await?, 1)
}

async fn swap(sql: &tokio_postgres::Client, one: &Made, two: &Made) -> Result<(), TourError> {
    let statement = "UPDATE record AS a SET body = b.body FROM record AS b
        WHERE (a.entry = $1 AND b.entry = $2) OR (a.entry = $2 AND b.entry = $1)";
    changed(sql.execute(statement, &[&one.entry, &two.entry]).await?, 2)
}

/// Gives `one` the owner of `two`; whose it was.
async fn reassign(sql: &tokio_postgres::Client, one: &Made, two: &Made) -> Result<String, TourError> {
    let row = sql.query_one("SELECT owner::text FROM record WHERE entry = $1", &[&one.entry]).await?;
    let statement = "UPDATE record SET owner = (SELECT owner FROM record WHERE entry = $2) WHERE entry = $1";
    changed(sql.execute(statement, &[&one.entry, &two.entry]).await?, 1)?;
    Ok(row.try_get(0)?)
}

/// The log's own tables refuse even their owner.
async fn append_only(tour: &mut Tour, sql: &tokio_postgres::Client) -> Result<(), TourError> {
    for (statement, text) in [
        (
            "UPDATE ledger_entry SET leaf = leaf WHERE index = 0",
            "the owner of the tables cannot change an entry of the log",
        ),
        ("DELETE FROM ledger_entry WHERE index = 0", "nor delete one"),
    ] {
        let (how, held): (String, Held) = match sql.execute(statement, &[]).await {
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                ("SQL no".to_owned(), Ok(()))
            }
            Err(error) => ("SQL".to_owned(), Err(error.to_string())),
            Ok(rows) => ("SQL yes".to_owned(), Err(format!("{rows} rows were changed"))),
        };
        tour.fact(text, &how, held)?;
    }
    Ok(())
}
