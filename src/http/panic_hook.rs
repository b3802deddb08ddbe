//! A panic hook that tells where a panic happened and never what it said.
//!
//! May import nothing of the house. A panic's payload often quotes the value that surprised the code, and that
//! value may come from a record; the location is always ours.

use std::panic::{self, PanicHookInfo};

/// Replaces the process's panic hook; call it once, before any thread serves.
pub fn install() {
    panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let Some(location) = info.location() else {
        tracing::error!("panic at an unknown place");
        return;
    };
    tracing::error!(file = location.file(), line = location.line(), "panic");
}
