//! What only the ledger can hand out.

use std::{fmt, sync::Arc};

/// Something whose entry has been committed. Only the ledger builds one, and a route returns nothing else.
///
/// ```compile_fail,E0451
/// use custodia::{answer::Answer, ledger::{Audited, Receipt}};
/// fn forge(receipt: Receipt) -> Audited<Answer> {
///     Audited { inner: Answer::empty(200), receipt }
/// }
/// ```
#[must_use]
pub struct Audited<T> {
    inner: T,
    receipt: Receipt,
}

/// Where the entry stands: what `Custodia-Receipt` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    origin: Arc<str>,
    index: u64,
}

impl<T> Audited<T> {
    pub(super) const fn new(inner: T, receipt: Receipt) -> Self {
        Self { inner, receipt }
    }

    /// The receipt.
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Many into one, under the receipt of the last in the log that the last of them is in; `None` of none.
    pub fn gather<U>(many: Vec<Self>, f: fn(Vec<T>) -> U) -> Option<Audited<U>> {
        let log = &many.last()?.receipt.origin;
        let there = many.iter().map(|one| &one.receipt).filter(|receipt| receipt.origin == *log);
        let receipt = there.max_by_key(|receipt| receipt.index)?.clone();
        Some(Audited { inner: f(many.into_iter().map(|one| one.inner).collect()), receipt })
    }

    /// Takes it apart, on its way to the wire.
    pub fn into_parts(self) -> (T, Receipt) {
        (self.inner, self.receipt)
    }
}

impl Receipt {
    pub(super) const fn new(origin: Arc<str>, index: u64) -> Self {
        Self { origin, index }
    }

    /// Name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Index of the entry in the log.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }
}

/// `<origin>/<index>`.
impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin, self.index)
    }
}
