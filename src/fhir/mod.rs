//! FHIR R4 as a pure language: what a resource is, and what is wrong with one.
//!
//! May import only std, serde, `serde_json`, regex and chrono, and the decoders of definitions and packages; nothing
//! from the rest of the crate, no I/O, no clock.
//!
//! A resource is a [`serde_json::Value`] that keeps the order of its members and the digits of its
//! numbers, so what was received is what is given back.

pub mod bundle;
pub mod capability;
pub mod compartment;
pub mod definitions;
pub mod fhirpath;
pub mod json;
pub mod kinds;
pub mod meta;
pub mod outcome;
pub mod package;
pub mod patch;
pub mod primitive;
pub mod reference;
pub mod relation;
pub mod search;
pub mod subset;
pub mod terminology;
pub mod validate;
