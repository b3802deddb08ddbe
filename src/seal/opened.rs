//! Plaintext that has not been disclosed yet.

/// Plaintext out of a seal, on its way to the gate and the ledger.
///
/// It has no `Debug`, `Display`, `Serialize` or `ToSql`, and nothing outside this crate can take it apart.
/// Inside, only the ledger does (`.clippy.toml` bans [`Opened::release`] elsewhere). The functions that work
/// on it are function pointers, not closures: they cannot capture, so they cannot smuggle.
///
/// ```compile_fail,E0277
/// fn print(opened: custodia::seal::Opened<String>) {
///     println!("{opened:?}");
/// }
/// ```
#[must_use]
pub struct Opened<T>(T);

impl<T> Opened<T> {
    pub(super) const fn new(plain: T) -> Self {
        Self(plain)
    }

    /// Applies `f` to the plaintext and what is asked of it.
    pub fn map_with<Q, U>(self, query: &Q, f: fn(T, &Q) -> U) -> Opened<U> {
        Opened(f(self.0, query))
    }

    /// Something about the plaintext that does not give it away, such as whether it matches a search.
    pub fn examine<Q: ?Sized, R: Undisclosing>(&self, query: &Q, f: fn(&T, &Q) -> R) -> R {
        f(&self.0, query)
    }

    /// What was worked out of plaintext: as undisclosed as that.
    pub const fn worked_out(of_plaintext: T) -> Self {
        Self(of_plaintext)
    }

    /// How it compares with another one.
    pub fn compare(&self, other: &Self) -> std::cmp::Ordering
    where
        T: Ord,
    {
        self.0.cmp(&other.0)
    }

    /// The plaintext, for what seals it again.
    pub(super) const fn inner(&self) -> &T {
        &self.0
    }

    /// Many into one.
    pub fn gather(many: Vec<Self>) -> Opened<Vec<T>> {
        Opened(many.into_iter().map(|one| one.0).collect())
    }

    /// Two into one.
    pub fn zip<U>(self, other: Opened<U>) -> Opened<(T, U)> {
        Opened((self.0, other.0))
    }

    /// Takes what the caller itself has just sent: it is nobody's secret from the caller.
    pub const fn from_caller(own: T) -> Self {
        Self(own)
    }

    /// The plaintext. Only for the ledger, after the entry has been committed, and for making the next version out of
    /// one that its caller may read (`interaction::open`).
    pub(crate) fn release(self) -> T {
        self.0
    }
}

/// What [`Opened::examine`] may hand out: a yes or no, opaque keys as they stand in the database, and what is
/// still undisclosed.
///
/// ```compile_fail,E0277
/// fn peek(opened: &custodia::seal::Opened<String>) -> String {
///     opened.examine(&(), |text, _| text.clone())
/// }
/// ```
pub trait Undisclosing {}

impl Undisclosing for bool {}
/// A definition says where a search looks, and nothing of anybody.
impl Undisclosing for crate::fhir::search::added::Definition {}
impl Undisclosing for (crate::fhir::kinds::ResourceType, uuid::Uuid) {}
impl<T> Undisclosing for Opened<T> {}
impl<T: Undisclosing> Undisclosing for Vec<T> {}
impl<T: Undisclosing> Undisclosing for Option<T> {}

/// What the gate and the log are told of a record before anybody is told anything else.
impl Opened<super::Plain> {
    /// Its logical id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Logical ids of the patients it is about.
    #[must_use]
    pub fn patients(&self) -> &[String] {
        &self.0.patients
    }

    /// Its security labels.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.0.labels
    }
}
