//! A ledger that takes no notice of reads: what recording them costs is measured against it.
//!
//! There is none in the product, and no switch for one. It is compiled only under `--cfg custodia_null_ledger`, which nothing but
//! `just null-ledger` passes (`the_null_ledger_is_built_by_one_recipe_alone`), and such a program refuses to start but with the
//! log's name of a server that listens on loopback alone and was never given one.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use super::{Ledger, Receipt, SetupError};

/// The name a log has that was never given one.
const UNNAMED: &str = "localhost/custodia";

/// Says what this program is, and refuses to be anything else.
pub(super) fn only_for_measuring(origin: &str) -> Result<(), SetupError> {
    // Nobody is left to be told that standard error is closed.
    drop(writeln!(io::stderr(), "THIS PROGRAM RECORDS NO READS. It is for measuring what recording costs."));
    if origin == UNNAMED {
        Ok(())
    } else {
        Err(SetupError::Head("this program records no reads: it serves a demonstration on loopback alone"))
    }
}

/// The receipt of nothing.
pub(super) fn unrecorded(ledger: &Ledger) -> Receipt {
    Receipt::new(Arc::from(ledger.origin()), 0)
}
