//! Recorded: nothing leaves before its entry stands in the log, and the log can be checked without us.

mod anchors;
mod bucket;
mod changes;
mod content;
mod damage;
mod down;
mod export;
mod flood;
mod forged;
mod large;
mod named;
mod receipts;
mod recount;
mod refused;
mod retention;
mod rotation;
mod s3;
mod shards;
mod together;
mod witnesses;
