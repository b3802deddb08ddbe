//! What the integration tests share; a crate of its own, so that it is compiled once for all of them.

pub mod authority;
pub mod client;
pub mod cluster;
pub mod people;
pub mod server;
