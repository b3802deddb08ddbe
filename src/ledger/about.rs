//! Entries about the patients whom a request names, or was refused about, and nothing that leaves is about.
//!
//! May import `access`, `draft`.

use std::collections::{BTreeMap, HashSet};

use custodia_audit::Kind;
use uuid::Uuid;

use super::{
    Access, Down, Ledger,
    access::About,
    draft::{self, Draft},
};
use crate::{fhir::kinds::ResourceType, gate::Denied};

/// What the entries of a refusal say beside it, and the caller is not told.
#[derive(Default)]
pub struct Grounds {
    /// What denied it.
    pub denied: Option<Denied>,
    /// Whom it was about, beside those whom the questions of the request name.
    pub about: Concern,
}

/// Whom a refused request was about.
///
/// INVARIANT: how many entries it leaves says nothing about who or what is there
/// (`a_refused_request_is_in_the_log_of_whom_it_was_about`).
#[derive(Default)]
pub enum Concern {
    /// Nobody, or it was refused before anything was looked at.
    #[default]
    Nobody,
    /// The patient whom the address names, by opaque key and logical id: an entry, about her if she is there.
    Address(Uuid, String),
    /// The patients of what the caller may know of, by opaque key: an entry for each, about her if her logical id is given.
    Seen(BTreeMap<Uuid, Option<String>>),
    /// A patient of a record that the caller must not know of, or nobody in place of a record that is not there: one entry.
    Unseen(About),
}

impl Ledger {
    /// What names no record: an entry about each patient whom the request names or was about, or one about nobody.
    pub(super) async fn statements(
        &self,
        access: &Access,
        kind: Kind,
        (status, code): (u16, &str),
        grounds: Grounds,
    ) -> Result<Vec<Draft>, Down> {
        let mut named = access.named.but(HashSet::new);
        if let Concern::Address(key, id) = &grounds.about
            && !named.iter().any(|(named, _)| named == key)
        {
            named.push((*key, id.clone()));
        }
        let others = match grounds.about {
            Concern::Nobody | Concern::Address(..) => Vec::new(),
            Concern::Seen(mut seen) => {
                named.iter().for_each(|(key, _)| drop(seen.remove(key)));
                seen.into_iter().map(|(key, id)| id.map(|id| (key, id))).collect()
            }
            // One entry more, also where she has hers already.
            Concern::Unseen(patient) => vec![patient.filter(|one| !named.contains(one))],
        };
        let mut about = self.about(access, named).await?;
        about.extend(others);
        if about.is_empty() {
            about.push(None);
        }
        let denied = grounds.denied.as_ref();
        let again = access.repeated();
        let each = std::iter::once(access).chain(std::iter::repeat(&again));
        let draft = |(access, about)| draft::of_statement(access, kind, status, code, denied, about);
        Ok(each.zip(about).map(draft).collect::<Result<_, _>>()?)
    }

    /// Whom entries about these patients are about: whoever is not there is nobody.
    pub(super) async fn about(
        &self,
        access: &Access,
        named: Vec<(Uuid, String)>,
    ) -> Result<Vec<About>, Down> {
        let Some(caller) = access.caller.as_ref().filter(|_| !named.is_empty()) else {
            return Ok(Vec::new());
        };
        let keys = named.iter().map(|(key, _)| *key).collect();
        let here =
            self.store.present(caller.tenant(), ResourceType::PATIENT, keys).await.map_err(|_| Down)?;
        Ok(named.into_iter().map(|one| here.contains(&one.0).then_some(one)).collect())
    }
}
