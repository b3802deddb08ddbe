//! Retention: the audit keys of months whose time is over are destroyed, unless a legal hold keeps them.
//!
//! May import `ledger`, `store`. Entries stay in the tree for ever; without their month's key their bodies are noise, and
//! every proof still verifies. Each step is recorded before it is taken and after it, like everything in `register`.

use custodia_audit::Kind;

use super::register::{RegisterError, Registry};
use crate::{ledger::month_of, store::retention::Hold};

impl Registry<'_> {
    /// Destroys audit keys that are older than `years` and not held; how many.
    ///
    /// If we crash between the first entry and the second, the keys may be gone or not: the next pass finds out.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn retain(&self, years: u16) -> Result<i64, RegisterError> {
        let before = month_of(self.clock().now()) - i32::from(years) * 12;
        let spent = self.store().spent_audit_keys(before).await?;
        if spent == 0 {
            return Ok(0);
        }
        let what = format!("{spent} keys of months before {:04}-{:02}", before / 12, before % 12 + 1);
        self.note(Kind::Key, "audit-key-destroy", &what, 102, "begun").await?;
        let outcome = self.store().destroy_audit_keys(before).await.map_err(RegisterError::from);
        self.ended(Kind::Key, "audit-key-destroy", &what, &outcome).await?;
        outcome
    }

    /// Places a legal hold on a tenant's audit keys.
    ///
    /// # Errors
    /// [`RegisterError::Taken`] when one is in force; [`RegisterError`].
    pub async fn place_hold(&self, tenant: &str) -> Result<(), RegisterError> {
        let id = self.tenant(tenant).await?;
        self.note(Kind::Config, "legal-hold-place", tenant, 102, "begun").await?;
        let placed = self.store().place_hold(id, self.clock().now()).await.map_err(RegisterError::from);
        let outcome = placed.and_then(|placed| if placed { Ok(()) } else { Err(RegisterError::Held) });
        self.ended(Kind::Config, "legal-hold-place", tenant, &outcome).await?;
        outcome
    }

    /// Lifts the legal hold on a tenant's audit keys. What it kept is destroyed by the next pass, not before.
    ///
    /// # Errors
    /// [`RegisterError::NotHeld`] when none is in force; [`RegisterError`].
    pub async fn lift_hold(&self, tenant: &str) -> Result<(), RegisterError> {
        let id = self.tenant(tenant).await?;
        self.note(Kind::Config, "legal-hold-lift", tenant, 102, "begun").await?;
        let lifted = self.store().lift_hold(id, self.clock().now()).await.map_err(RegisterError::from);
        let outcome = lifted.and_then(|lifted| if lifted { Ok(()) } else { Err(RegisterError::NotHeld) });
        self.ended(Kind::Config, "legal-hold-lift", tenant, &outcome).await?;
        outcome
    }

    /// The holds in force.
    ///
    /// # Errors
    /// [`RegisterError::Store`].
    pub async fn holds(&self) -> Result<Vec<Hold>, RegisterError> {
        Ok(self.store().holds().await?)
    }
}
