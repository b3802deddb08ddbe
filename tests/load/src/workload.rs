//! What clients ask for. Imports `client`, `deck`, `fault`, `random` and `records`.

use clap::ValueEnum;
use hyper::Method;
use serde::Serialize;

use crate::{
    client::Call,
    deck::{Deck, uri},
    random::Random,
    records::{self, Transaction},
};

/// A mix of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// POST an Observation of a random patient.
    Create,
    /// GET a random seeded Observation.
    Read,
    /// PUT a random seeded Observation with new content.
    Update,
    /// GET the Observations of a random patient, 20 a page.
    SearchPatient,
    /// POST a transaction Bundle that creates Observations.
    Transaction,
    /// 70 % read, 15 % search, 10 % create, 5 % update.
    Mixed,
    /// GET the inclusion proof of a random entry of the log, as the auditor.
    Proof,
    /// GET Observations by id while one client more posts the largest Bundles there are, with pauses.
    ReadBeside,
}

impl Workload {
    /// All of them, in the order they are run.
    pub(crate) const ALL: [Self; 8] = [
        Self::Read,
        Self::SearchPatient,
        Self::Create,
        Self::Update,
        Self::Transaction,
        Self::Mixed,
        Self::Proof,
        Self::ReadBeside,
    ];

    /// As it is spelled on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::SearchPatient => "search-patient",
            Self::Transaction => "transaction",
            Self::Mixed => "mixed",
            Self::Proof => "proof",
            Self::ReadBeside => "read-beside",
        }
    }
}

/// One request of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// POST
    Create,
    /// GET by id
    Read,
    /// PUT
    Update,
    /// GET by patient
    Search,
    /// GET of a search that finds nothing
    Miss,
    /// POST of a Bundle
    Transaction,
    /// GET of a proof
    Proof,
}

impl Step {
    /// Draws the next one.
    pub(crate) fn draw(workload: Workload, random: &mut Random) -> Self {
        match workload {
            Workload::Create => Self::Create,
            Workload::Read | Workload::ReadBeside => Self::Read,
            Workload::Update => Self::Update,
            Workload::SearchPatient => Self::Search,
            Workload::Transaction => Self::Transaction,
            Workload::Proof => Self::Proof,
            Workload::Mixed => match random.below(100) {
                0..70 => Self::Read,
                70..85 => Self::Search,
                85..95 => Self::Create,
                _ => Self::Update,
            },
        }
    }

    /// The status that is no error.
    pub(crate) const fn expected(self) -> u16 {
        match self {
            Self::Create => 201,
            Self::Miss | Self::Read | Self::Update | Self::Search | Self::Transaction | Self::Proof => 200,
        }
    }

    /// The shortest body that can be the answer: a hollow one is an error, however fast.
    pub(crate) const fn bytes_min(self) -> usize {
        match self {
            Self::Create | Self::Update => 0,
            Self::Read => 1_000,
            // Each patient has at least one Observation, or the search's Bundle would be below this.
            Self::Search => 1_000,
            Self::Transaction | Self::Proof | Self::Miss => 100,
        }
    }

    /// How many resources an answer without error stands for.
    pub(crate) const fn resources(self, bundle_entries: u32) -> u64 {
        match self {
            Self::Transaction => bundle_entries as u64,
            Self::Create | Self::Read | Self::Update | Self::Search | Self::Miss | Self::Proof => 1,
        }
    }

    /// Whether it stores new resources.
    pub(crate) const fn is_creation(self) -> bool {
        matches!(self, Self::Create | Self::Transaction)
    }

    /// The request; `None` if the deck is empty.
    pub(crate) fn call(self, deck: &Deck, bundle_entries: u32, random: &mut Random) -> Option<Call> {
        Some(match self {
            Self::Read => Call::get(random.pick(&deck.observations)?.uri.clone()),
            Self::Search => Call::get(random.pick(&deck.searches)?.clone()),
            Self::Miss => return None,
            Self::Proof => {
                Call::get(uri(&format!("/audit/entries/{}/proof", random.below(deck.log_size))).ok()?)
            }
            Self::Create => {
                let text = records::observation(random.pick(&deck.patients)?, None, random.next());
                Call::send(Method::POST, deck.observation.clone(), text)
            }
            Self::Update => {
                let seeded = random.pick(&deck.observations)?;
                let text = records::observation(&seeded.patient, Some(&seeded.id), random.next());
                Call::send(Method::PUT, seeded.uri.clone(), text)
            }
            Self::Transaction => {
                let mut bundle = Transaction::new();
                for _ in 0..bundle_entries {
                    let text = records::observation(random.pick(&deck.patients)?, None, random.next());
                    bundle.create("Observation", &text, random.uuid());
                }
                Call::send(Method::POST, deck.base.clone(), bundle.finish())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_what_it_says() {
        let mut random = Random::new(1, 1);
        let drawn: Vec<_> = (0..100_000).map(|_| Step::draw(Workload::Mixed, &mut random)).collect();
        for (step, percent) in [(Step::Read, 70), (Step::Search, 15), (Step::Create, 10), (Step::Update, 5)] {
            let count = drawn.iter().filter(|drawn| **drawn == step).count();
            let wanted = percent * 1_000;
            assert!(count.abs_diff(wanted) < 500, "{step:?}: {count} of {wanted}");
        }
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for workload in Workload::ALL {
            let spelled = workload.to_possible_value();
            assert_eq!(spelled.map(|value| value.get_name().to_owned()).as_deref(), Some(workload.name()));
        }
    }
}
