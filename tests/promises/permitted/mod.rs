//! Permitted: one Cedar decision guards every way out, tried through the API by everybody.

mod relations;
mod roles;
mod tenants;
mod versions;
