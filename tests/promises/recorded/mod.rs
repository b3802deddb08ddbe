//! Recorded: nothing leaves before its entry stands in the log, and the log can be checked without us.

mod anchors;
mod content;
mod down;
mod export;
mod flood;
mod forged;
mod receipts;
mod retention;
mod rotation;
mod together;
