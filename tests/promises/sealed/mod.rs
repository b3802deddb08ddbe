//! Sealed: what the database and our own files hold cannot be read, nor moved, nor changed unseen.

mod canaries;
mod scan;
mod tamper;
