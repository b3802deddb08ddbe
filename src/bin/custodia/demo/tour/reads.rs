//! Who may see what: the steps are a table.

use custodia::clock::Clock;

use super::{Cast, Held, Tour, TourError, held, is_outcome, is_resource, is_set_of, matches};
use crate::demo::{
    client::{Client, Reply},
    people::CHART,
};

/// What should come of a question.
enum Expect {
    /// This resource.
    Record(&'static str),
    /// Resources of this type, one at least.
    Set(&'static str),
    /// A set with nothing in it.
    Nothing,
    /// A refusal: its status and the code of its OperationOutcome.
    Refused(u16, &'static str),
}

impl Expect {
    const fn status(&self) -> u16 {
        match self {
            Self::Record(_) | Self::Set(_) | Self::Nothing => 200,
            Self::Refused(status, _) => *status,
        }
    }

    fn check(&self, reply: &Reply) -> Held {
        match self {
            Self::Record(kind) => is_resource(reply, kind),
            Self::Set(kind) => is_set_of(reply, kind),
            Self::Nothing => held(matches(reply).is_empty(), "the set is not empty"),
            Self::Refused(_, code) => is_outcome(reply, code),
        }
    }
}

/// One question.
struct Ask<'a> {
    who: &'a Client,
    path: String,
    expect: Expect,
    text: &'static str,
}

fn ask<'a>(who: &'a Client, path: &str, expect: Expect, text: &'static str) -> Ask<'a> {
    Ask { who, path: path.replace("{id}", CHART), expect, text }
}

const FORBIDDEN: Expect = Expect::Refused(403, "forbidden");

fn questions(cast: &Cast) -> [Ask<'_>; 12] {
    use Expect::{Nothing, Record, Refused, Set};
    let Cast { physician, stranger, nurse, front_desk, registry, anonymous, .. } = cast;
    [
        ask(physician, "/fhir/Patient/{id}", Record("Patient"), "the physician reads her patient"),
        ask(physician, "/fhir/Condition?patient={id}", Set("Condition"), "her patient's conditions"),
        ask(
            physician,
            "/fhir/Observation?patient={id}&_count=20",
            Set("Observation"),
            "her patient's observations, the latest 20",
        ),
        ask(
            nurse,
            "/fhir/Observation?patient={id}&_count=5",
            Set("Observation"),
            "a nurse of the care team does the same",
        ),
        ask(front_desk, "/fhir/Patient/{id}", Record("Patient"), "the front desk looks up name and address"),
        ask(front_desk, "/fhir/Observation?patient={id}", FORBIDDEN, "and is refused the observations"),
        ask(
            stranger,
            "/fhir/Observation?patient={id}",
            Nothing,
            "a physician who does not treat her finds nothing",
        ),
        ask(anonymous, "/fhir/Patient/{id}", Refused(401, "login"), "nobody reads without signing in"),
        ask(
            registry,
            "/fhir/Patient/{id}",
            Record("Patient"),
            "a partner, by its certificate, reads what its contract names",
        ),
        ask(
            registry,
            "/fhir/Immunization?patient={id}",
            Set("Immunization"),
            "vaccinations are in the contract",
        ),
        ask(registry, "/fhir/Observation?patient={id}", FORBIDDEN, "observations are not"),
        ask(registry, "/fhir/Condition?patient={id}", FORBIDDEN, "nor are conditions"),
    ]
}

/// The receipt of the physician's first read.
pub(super) async fn run(tour: &mut Tour, cast: &Cast) -> Result<u64, TourError> {
    let mut first = None;
    for question in questions(cast) {
        let reply = question.who.get(&question.path).await?;
        let expect = &question.expect;
        tour.answer(question.text, &reply, expect.status(), expect.check(&reply))?;
        first = first.or(reply.receipt);
    }
    absent(tour, cast).await?;
    uninvited(tour, cast).await?;
    first.ok_or(TourError::Missing("the first read has no receipt"))
}

/// Hidden looks like absent, to the last byte.
async fn absent(tour: &mut Tour, cast: &Cast) -> Result<(), TourError> {
    let hidden = cast.stranger.get(&format!("/fhir/Patient/{CHART}")).await?;
    tour.answer(
        "asked for by that physician, her record is not there",
        &hidden,
        404,
        is_outcome(&hidden, "not-found"),
    )?;
    let nobody = Clock::machine().random_id();
    let absent = cast.stranger.get(&format!("/fhir/Patient/{nobody}")).await?;
    let same = held(absent.body == hidden.body, "the answers differ");
    tour.answer("just as one that never was: the answer is the same, to the byte", &absent, 404, same)?;
    Ok(())
}

/// Without a certificate there is no connection at the partners' door, so nothing to answer.
async fn uninvited(tour: &mut Tour, cast: &Cast) -> Result<(), TourError> {
    let (how, refused) = match cast.uninvited.get("/fhir/metadata").await {
        Err(_) => ("no TLS".to_owned(), Ok(())),
        Ok(reply) => (reply.status.to_string(), Err("it was answered".to_owned())),
    };
    tour.fact("without a certificate there is no connection at the partners' door", &how, refused)?;
    Ok(())
}
