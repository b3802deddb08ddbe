//! Custodia.

pub mod fhir;
