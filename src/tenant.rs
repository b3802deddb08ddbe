//! The number of a tenant.
//!
//! May import nothing of the house.

/// Number of a tenant; the first part of every key in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TenantId(pub i32);

impl TenantId {
    /// The house itself: owns entries about callers who could not be told apart.
    pub const HOUSE: Self = Self(0);
}
