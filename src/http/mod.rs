//! HTTP: the TLS edge, the way into Rocket, and what Rocket serves.
//!
//! The only room that names Rocket and hyper. May import every room above it, never `watch`.

pub mod dispatch;
pub mod edge;
pub mod incoming;
pub mod measure;
pub mod mount;
pub mod negotiate;
pub mod openapi;
pub mod panic_hook;
pub mod respond;
pub mod serve;
