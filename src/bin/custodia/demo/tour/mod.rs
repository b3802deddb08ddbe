//! The tour: each step with its HTTP status, its receipt, and whether it did what it should.

mod log;
mod reads;
mod tamper;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

pub(super) use log::verifier;
use serde_json::Value;

use super::{
    client::{Client, ClientError, Reply},
    home::{Home, HomeError},
    people::REGISTRY,
};

/// Why the tour broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TourError {
    /// The terminal.
    #[error("cannot write")]
    Write(#[from] io::Error),
    /// The server did not answer.
    #[error("the tour")]
    Client(#[from] ClientError),
    /// A file of the demo's.
    #[error("the tour")]
    Home(#[from] HomeError),
    /// PostgreSQL.
    #[error("the tour, as the owner of the database")]
    Database(#[from] tokio_postgres::Error),
    /// A file of the log.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// What a later step stands on was not there.
    #[error("the tour cannot go on: {0}")]
    Missing(&'static str),
}

/// Where the tour goes.
pub(crate) struct Place<'a> {
    /// The demo's folder.
    pub(crate) home: &'a Home,
    /// The door for people.
    pub(crate) portal: &'a str,
    /// The door for partners.
    pub(crate) partners: &'a str,
    /// Name of the log.
    pub(crate) origin: &'a str,
    /// Key of the log.
    pub(crate) vkey: &'a custodia_audit::Vkey,
    /// How the owner of the tables gets into the database.
    pub(crate) owner: tokio_postgres::Config,
}

/// Those who ask, signed in.
pub(crate) struct Cast {
    physician: Client,
    stranger: Client,
    nurse: Client,
    front_desk: Client,
    auditor: Client,
    registry: Client,
    /// Without a token, at the portal.
    anonymous: Client,
    /// Without a certificate, at the partners' door.
    uninvited: Client,
}

impl Cast {
    async fn gather(place: &Place<'_>) -> Result<Self, TourError> {
        let home = place.home;
        let anonymous = Client::nobody(home, place.portal)?;
        let signed_in = async |name: &str| -> Result<Client, TourError> {
            Ok(anonymous.sign_in(name, home.password(name)?).await?)
        };
        Ok(Self {
            physician: signed_in("physician").await?,
            stranger: signed_in("stranger").await?,
            nurse: signed_in("nurse").await?,
            front_desk: signed_in("front-desk").await?,
            auditor: signed_in("auditor").await?,
            registry: Client::partner(home, place.partners, &home.files(REGISTRY.name))?,
            uninvited: Client::nobody(home, place.partners)?,
            anonymous,
        })
    }
}

/// Whether every step did what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of them.
    AsItShould,
    /// Some did not; how many.
    Not(u32),
}

/// Goes through all of it.
pub(crate) async fn run(place: &Place<'_>) -> Result<Verdict, TourError> {
    let cast = Cast::gather(place).await?;
    let mut tour = Tour::default();
    tour.heading("Permitted: who may see what")?;
    let seen = reads::run(&mut tour, &cast).await?;
    tour.heading("Sealed: what happens to a record that is changed in the database")?;
    tamper::run(&mut tour, &cast, &place.owner).await?;
    tour.heading("Recorded: what an auditor can prove")?;
    log::run(&mut tour, &cast, place, seen).await?;
    tour.finish()
}

/// Prints the steps and counts those that did not do what they should.
#[derive(Default)]
struct Tour {
    steps: u32,
    failed: u32,
}

impl Tour {
    fn heading(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "\n{text}\n")?;
        writeln!(out, "         status  receipt")?;
        out.flush()
    }

    /// A question over HTTP: it should have this status, a receipt, and hold besides.
    fn answer(&mut self, text: &str, reply: &Reply, status: u16, held: Held) -> io::Result<()> {
        let receipt = reply.receipt.map_or("none".to_owned(), |index| index.to_string());
        let why = if reply.status != status {
            Some(format!("expected {status}"))
        } else if reply.receipt.is_none() {
            Some("no receipt".to_owned())
        } else {
            held.err()
        };
        self.line(text, &reply.status.to_string(), &receipt, why)
    }

    /// Something that is not a question over HTTP; `how` says in a word how it ended.
    fn fact(&mut self, text: &str, how: &str, held: Held) -> io::Result<()> {
        self.line(text, how, "", held.err())
    }

    fn line(&mut self, text: &str, status: &str, receipt: &str, why: Option<String>) -> io::Result<()> {
        self.steps += 1;
        let mut out = io::stdout().lock();
        let mark = if why.is_none() { "ok" } else { "FAILED" };
        writeln!(out, "{mark:<6} {status:>8} {receipt:>8}  {text}")?;
        if let Some(why) = why {
            self.failed += 1;
            writeln!(out, "{:26}{why}", "")?;
        }
        out.flush()
    }

    fn finish(self) -> Result<Verdict, TourError> {
        let mut out = io::stdout().lock();
        let Self { steps, failed } = self;
        if failed == 0 {
            writeln!(out, "\n{steps} steps, each did what it should.")?;
            return Ok(Verdict::AsItShould);
        }
        writeln!(out, "\n{steps} steps, {failed} did not do what they should.")?;
        Ok(Verdict::Not(failed))
    }
}

/// Whether a step held, and if not why.
type Held = Result<(), String>;

fn held(is_so: bool, otherwise: &str) -> Held {
    if is_so { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// The one resource asked for.
fn is_resource(reply: &Reply, kind: &str) -> Held {
    let json = reply.json();
    let found = json.get("resourceType").and_then(Value::as_str);
    held(found == Some(kind), &format!("the body is no {kind}"))
}

/// An OperationOutcome whose first issue has this code.
fn is_outcome(reply: &Reply, code: &str) -> Held {
    let json = reply.json();
    let found = json.pointer("/issue/0/code").and_then(Value::as_str);
    let is_outcome = json.get("resourceType").and_then(Value::as_str) == Some("OperationOutcome");
    held(is_outcome && found == Some(code), &format!("the body is no OperationOutcome with {code}"))
}

/// The resources of a searchset.
fn matches(reply: &Reply) -> Vec<Value> {
    let mut json = reply.json();
    let entries = json.get_mut("entry").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    let is_match = |entry: &Value| entry.pointer("/search/mode").is_none_or(|mode| mode == "match");
    let resource = |mut entry: Value| entry.get_mut("resource").map(Value::take);
    entries.into_iter().filter(is_match).filter_map(resource).collect()
}

/// A searchset with something in it, all of one type.
fn is_set_of(reply: &Reply, kind: &str) -> Held {
    let found = matches(reply);
    let is_kind = |one: &Value| one.get("resourceType").and_then(Value::as_str) == Some(kind);
    held(!found.is_empty() && found.iter().all(is_kind), &format!("the body is no set of {kind}"))
}
