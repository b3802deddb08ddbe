//! Entries about the patients whom a request names and nothing that leaves is about.
//!
//! May import `access`, `draft`.

use std::collections::HashSet;

use custodia_audit::Kind;
use uuid::Uuid;

use super::{
    Access, Down, Ledger,
    access::About,
    draft::{self, Draft},
};
use crate::{fhir::kinds::ResourceType, gate::Denied};

impl Ledger {
    /// What names no record: an entry about each patient whom the request names, or one about nobody.
    pub(super) async fn statements(
        &self,
        access: &Access,
        kind: Kind,
        status: u16,
        code: &str,
        denied: Option<&Denied>,
    ) -> Result<Vec<Draft>, Down> {
        let mut about = self.about(access, access.named.but(HashSet::new)).await?;
        if about.is_empty() {
            about.push(None);
        }
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
