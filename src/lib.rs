//! Custodia: a healthcare records server that seals, permits and records.
//!
//! `src/ARCHITECTURE.md` is the map. The rooms below stand in the order of their floors: each imports only
//! what stands above it (`tests/tidy.rs`).

pub mod clock;
pub mod config;
pub mod durable;
pub mod tenant;

pub mod fhir;

pub mod events;

pub mod answer;
pub mod refusal;

pub mod seal;

pub mod identity;

pub mod gate;

pub mod store;

pub mod ledger;

pub mod anchor;

pub mod export;

pub mod feed;

pub mod terminology;

pub mod app;

pub mod interaction;

pub mod http;

pub mod watch;

pub mod witness;

pub mod host;
