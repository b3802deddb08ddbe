//! Custodia.
