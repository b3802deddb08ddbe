//! What happens to references that lead nowhere (decision 0022).
//!
//! May import its siblings.

use serde::Deserialize;
use validator::ValidationError;

use super::FhirConfig;

/// What a write is told of references to records that are not there, or not in its caller's view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum References {
    /// Nothing.
    #[default]
    Off,
    /// Where they are: the write goes ahead, with a warning.
    Warn,
    /// That it is refused; and what is referred to is not deleted.
    Enforce,
}

impl References {
    fn parse(text: &str) -> Option<Self> {
        [("off", Self::Off), ("warn", Self::Warn), ("enforce", Self::Enforce)]
            .into_iter()
            .find_map(|(name, mode)| (name == text).then_some(mode))
    }
}

/// Which of them holds for which tenant.
#[derive(Clone, Debug, Default)]
pub struct Integrity {
    otherwise: References,
    of: Vec<(String, References)>,
}

impl Integrity {
    /// Of these lines, which [`are_modes`] has found good.
    #[must_use]
    pub fn new(otherwise: References, lines: &[String]) -> Self {
        Self { otherwise, of: lines.iter().filter_map(|line| mode_of(line)).collect() }
    }

    /// What holds for a tenant, by name.
    #[must_use]
    pub fn of(&self, tenant: &str) -> References {
        self.of.iter().find(|(name, _)| name == tenant).map_or(self.otherwise, |(_, mode)| *mode)
    }
}

impl FhirConfig {
    /// What holds for which tenant.
    #[must_use]
    pub fn integrity(&self) -> Integrity {
        Integrity::new(self.references, &self.references_of)
    }
}

fn mode_of(line: &str) -> Option<(String, References)> {
    let (tenant, mode) = line.split_once('=')?;
    let tenant = tenant.trim();
    (!tenant.is_empty()).then_some(())?;
    Some((tenant.to_owned(), References::parse(mode.trim())?))
}

/// Whether each line is `tenant=off`, `tenant=warn` or `tenant=enforce`, and no tenant has two.
pub(super) fn are_modes(lines: &[String]) -> Result<(), ValidationError> {
    let modes: Vec<_> = lines.iter().filter_map(|line| mode_of(line)).collect();
    let mut names: Vec<&str> = modes.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() == lines.len() {
        return Ok(());
    }
    Err(ValidationError::new("modes")
        .with_message("expected tenant=off, tenant=warn or tenant=enforce, each tenant once".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_own_mode_or_that_of_all() {
        let lines = ["clinic=enforce".to_owned(), " ward = off ".to_owned()];
        let integrity = Integrity::new(References::Warn, &lines);
        assert!(are_modes(&lines).is_ok());
        for (tenant, mode) in
            [("clinic", References::Enforce), ("ward", References::Off), ("other", References::Warn)]
        {
            assert_eq!(integrity.of(tenant), mode, "{tenant}");
        }
        for wrong in [&["clinic"][..], &["clinic=maybe"], &["=warn"], &["a=warn", "a=off"]] {
            let lines: Vec<String> = wrong.iter().map(|line| (*line).to_owned()).collect();
            assert!(are_modes(&lines).is_err(), "{wrong:?}");
        }
    }
}
