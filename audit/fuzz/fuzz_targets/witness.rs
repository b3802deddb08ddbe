//! What a log asks a witness, and what a witness answers.
#![no_main]

use custodia_audit::witness::{AddCheckpoint, Reply, judge};
use custodia_audit::{Policy, Vkey};

const VKEY: &str = include_str!("../../tests/golden/vkey");

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(key) = Vkey::parse(VKEY.trim_end()) else { return };
    if let Some(request) = AddCheckpoint::parse(bytes) {
        assert_eq!(request.to_text().as_bytes(), bytes, "a request has one spelling");
        drop(judge(&request, &Policy::of_keys(&[key], 0), None));
    }
    for status in [200, 409, 422] {
        drop(Reply::parse(status, bytes));
    }
});
