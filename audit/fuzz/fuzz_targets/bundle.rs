//! An export from a stranger.
#![no_main]

use custodia_audit::Vkey;
use custodia_audit::bundle::{Trust, verify};

const VKEY: &str = include_str!("../../tests/golden/vkey");

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = Vkey::parse(VKEY.trim_end()) {
        drop(verify(bytes, &Trust::of_log(&key, None), |_| {}));
    }
});
