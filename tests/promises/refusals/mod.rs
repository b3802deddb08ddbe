//! Bad input, at every route: a refusal with its entry, never a failure, and nothing stored.

mod coverage;
mod fuzz;
mod table;
mod wire;
