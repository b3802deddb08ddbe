//! What the integration tests share; a crate of its own, so that it is compiled once for all of them.

pub mod cluster;
