//! One value of a parameter, as the client wrote it and as it is compared (FHIR R4 search.html#ptypes).
//!
//! May import only std, chrono and what stands beside it in `fhir`. What is wrong with a value is said without
//! repeating it.

use chrono::{DateTime, Utc};

use super::super::kinds::{LogicalId, ResourceType};
use super::super::outcome::IssueCode;
use super::super::reference::{BaseUrl, Reference};
use super::Prefix;
use super::codes::{Codes, Sets};
use super::date::DateRange;
use super::decimal::Decimal;
use super::fold::fold;
use super::index::Compiled;
use super::parameters::Kind;
use super::ucum::{Measure, UCUM};

/// What stands behind the colon of a parameter's name (FHIR R4 search.html#modifiers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Modifier {
    None,
    Missing,
    Exact,
    Contains,
    Not,
    Text,
    Identifier,
    Above,
    Below,
    OfType,
    In,
    NotIn,
    /// `:Patient`
    Type(ResourceType),
}

impl Modifier {
    /// The modifier of this name, without its colon.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "" => Self::None,
            "missing" => Self::Missing,
            "exact" => Self::Exact,
            "contains" => Self::Contains,
            "not" => Self::Not,
            "text" => Self::Text,
            "identifier" => Self::Identifier,
            "above" => Self::Above,
            "below" => Self::Below,
            "of-type" => Self::OfType,
            "in" => Self::In,
            "not-in" => Self::NotIn,
            other => Self::Type(ResourceType::from_name(other)?),
        })
    }

    /// Whether this server supports it for a kind of parameter. `:above` and `:below` of references are refused.
    pub(super) fn fits(self, parameter: &Compiled) -> bool {
        match self {
            Self::None | Self::Missing => true,
            Self::Exact | Self::Contains => parameter.kind == Kind::String,
            Self::Not | Self::Text | Self::OfType | Self::In | Self::NotIn => parameter.kind == Kind::Token,
            Self::Above | Self::Below => matches!(parameter.kind, Kind::Uri | Kind::Token),
            Self::Identifier => parameter.kind == Kind::Reference,
            Self::Type(kind) => parameter.may_point_at(kind),
        }
    }
}

/// A value that is looked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    /// Text that begins with this, folded.
    Begins(String),
    /// Text that contains this, folded.
    Contains(String),
    /// Text that ends with this, folded.
    Ends(String),
    /// Text that is this, folded.
    Same(String),
    /// This text.
    Exactly(String),
    /// A code or identifier.
    Token(Token),
    /// The text of a code begins with this, folded.
    TokenText(String),
    /// One of these codes.
    In(Codes),
    /// An identifier of a type: system, code, value.
    OfType {
        system: String,
        code: String,
        value: String,
    },
    /// What a Reference points at.
    Reference(Target),
    /// The identifier in a Reference.
    Identifier(Token),
    /// A date or period.
    Date(Prefix, DateRange),
    /// A number.
    Number(Prefix, Bounds),
    /// A number with a unit.
    Quantity(Prefix, Bounds, Unit),
    /// What a number of a unit of UCUM measures ([`super::ucum`]), by number, and the range as all its units have it.
    Measure(Prefix, Bounds, u8),
    /// A URL: this one, above this one, below this one.
    Uri(String),
    Above(String),
    Below(String),
    /// The values of a composite's components.
    Composite(Vec<Term>),
    /// A value that does not meet the term: `ne` of a `_filter`.
    Unlike(Box<Term>),
}

impl Term {
    /// Adds the patients whom it names.
    pub(super) fn name(&self, named: &mut Vec<LogicalId>) {
        match self {
            Self::Reference(Target::Local(Some(ResourceType::PATIENT), id)) => named.push(id.clone()),
            Self::Composite(terms) => terms.iter().for_each(|term| term.name(named)),
            Self::Unlike(term) => term.name(named),
            _ => {}
        }
    }
}

/// `[system]|[code]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) system: System,
    /// `None` is any code of the system.
    pub(super) code: Option<String>,
    /// The code in lower case.
    pub(super) lower: Option<String>,
}

/// The part of a token before the bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum System {
    /// There is no bar.
    Any,
    /// Nothing stands before the bar.
    Absent,
    /// This one.
    Is(String),
}

/// What a Reference is to point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A resource of this server; without a type, of any.
    Local(Option<ResourceType>, LogicalId),
    /// A URL, with its version if a bar stands in it.
    Url(String, Option<String>),
}

/// A number with the range its spelling stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) exact: Decimal,
    /// From this.
    pub(super) low: Decimal,
    /// Of `ap` up to and with this, else up to it.
    pub(super) high: Decimal,
}

/// The unit of a quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Any,
    /// This unit, coded or written.
    Either(String),
    /// This code of this system.
    Coded(String, String),
}

/// What is wrong with a value.
pub(super) type Wrong = (IssueCode, &'static str);

/// What values are read with.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) sets: &'a Sets<'a>,
    pub(super) base: &'a BaseUrl,
    pub(super) now: DateTime<Utc>,
}

impl Reading<'_> {
    /// Reads one value of a parameter; commas have been split at, escapes are still there.
    pub(super) fn term(self, parameter: &Compiled, modifier: Modifier, raw: &str) -> Result<Term, Wrong> {
        if raw.is_empty() {
            return Err((IssueCode::Value, "a value is empty"));
        }
        if parameter.code == "_id" && LogicalId::parse(raw).is_none() {
            return Err((IssueCode::Value, "expected a logical id"));
        }
        if parameter.kind != Kind::Composite {
            return self.simple(parameter.kind, Some(parameter), modifier, raw);
        }
        let kinds = parameter.component_kinds();
        let pieces = split(raw, '$');
        if pieces.len() != kinds.len() || pieces.iter().any(|piece| piece.is_empty()) {
            return Err((IssueCode::Value, "expected a value for each component, with $ between them"));
        }
        let terms = kinds.iter().zip(pieces).map(|(kind, piece)| self.simple(*kind, None, modifier, piece));
        terms.collect::<Result<_, _>>().map(Term::Composite)
    }

    fn simple(
        self,
        kind: Kind,
        parameter: Option<&Compiled>,
        modifier: Modifier,
        raw: &str,
    ) -> Result<Term, Wrong> {
        Ok(match (kind, modifier) {
            (Kind::String, Modifier::Exact) => Term::Exactly(unescape(raw)),
            (Kind::String, Modifier::Contains) => Term::Contains(folded(raw)?),
            (Kind::String, _) => Term::Begins(folded(raw)?),
            (Kind::Token, Modifier::Text) => Term::TokenText(folded(raw)?),
            (Kind::Token, Modifier::OfType) => of_type(raw)?,
            (Kind::Token, Modifier::In | Modifier::NotIn | Modifier::Above | Modifier::Below) => {
                Term::In(Codes::read(self.sets, modifier, raw)?)
            }
            (Kind::Token, _) => Term::Token(token(raw)?),
            (Kind::Reference, Modifier::Identifier) => Term::Identifier(token(raw)?),
            (Kind::Reference, _) => Term::Reference(self.target(parameter, modifier, raw)?),
            (Kind::Date, _) => self.date(raw)?,
            (Kind::Number, _) => {
                let (prefix, bounds) = bounds(raw)?;
                Term::Number(prefix, bounds)
            }
            (Kind::Quantity, _) => quantity(raw)?,
            (Kind::Uri, Modifier::Above) => Term::Above(unescape(raw)),
            (Kind::Uri, Modifier::Below) => Term::Below(unescape(raw)),
            (Kind::Uri, _) => Term::Uri(unescape(raw)),
            (Kind::Composite | Kind::Special, _) => {
                return Err((IssueCode::NotSupported, "this server does not support it"));
            }
        })
    }

    fn date(self, raw: &str) -> Result<Term, Wrong> {
        let (prefix, rest) = Prefix::split(raw);
        let what = "expected a prefix and a date or dateTime; a plus sign of its time zone is written %2B";
        let range = DateRange::parse(rest).ok_or((IssueCode::Value, what))?;
        Ok(Term::Date(
            prefix,
            match prefix {
                // search.html#prefix recommends 10 % of the time between the date and now.
                Prefix::Ap => range.widened((self.now - range.from).abs() / 10),
                _ => range,
            },
        ))
    }

    /// `123`, `Type/123`, the own absolute URL, or any other URL.
    ///
    /// A bare id is a Patient's where the parameter can point at one: what else it might have been must be
    /// asked for with its type.
    fn target(self, parameter: Option<&Compiled>, modifier: Modifier, raw: &str) -> Result<Target, Wrong> {
        let text = unescape(raw);
        let named = match modifier {
            Modifier::Type(kind) => Some(kind),
            _ => None,
        };
        if let Some(id) = LogicalId::parse(&text) {
            let patient =
                parameter.filter(|p| p.may_point_at(ResourceType::PATIENT)).map(|_| ResourceType::PATIENT);
            return Ok(Target::Local(named.or(patient), id));
        }
        match Reference::parse(&text, self.base) {
            Some(Reference::Local { kind, id, version: None }) => {
                let possible = parameter.is_none_or(|one| one.may_point_at(kind) || one.holds_urls());
                if !possible || named.is_some_and(|named| named != kind) {
                    return Err((
                        IssueCode::Value,
                        "the value names a type that the parameter never points at",
                    ));
                }
                Ok(Target::Local(Some(kind), id))
            }
            Some(Reference::Absolute(_) | Reference::Urn(_)) if named.is_none() => {
                let (url, version) = match text.split_once('|') {
                    Some((url, version)) => (url.to_owned(), Some(version.to_owned())),
                    None => (text, None),
                };
                Ok(Target::Url(url, version))
            }
            _ => Err((IssueCode::Value, "expected an id, Type/id, or a URL; a version cannot be asked for")),
        }
    }
}

pub(super) fn folded(raw: &str) -> Result<String, Wrong> {
    let text = fold(&unescape(raw));
    // What folds to nothing would match everything.
    if text.is_empty() { Err((IssueCode::Value, "a value holds nothing to search for")) } else { Ok(text) }
}

fn token(raw: &str) -> Result<Token, Wrong> {
    let pieces = split(raw, '|');
    let (system, code) = match pieces.as_slice() {
        [code] => (System::Any, *code),
        ["", code] if !code.is_empty() => (System::Absent, *code),
        [system, code] if !system.is_empty() => (System::Is(unescape(system)), *code),
        _ => return Err((IssueCode::Value, "expected code, system|code, |code or system|")),
    };
    let code = (!code.is_empty()).then(|| unescape(code));
    let lower = code.as_deref().map(str::to_lowercase);
    Ok(Token { system, code, lower })
}

fn of_type(raw: &str) -> Result<Term, Wrong> {
    match split(raw, '|').as_slice() {
        [system, code, value] if [system, code, value].iter().all(|piece| !piece.is_empty()) => {
            Ok(Term::OfType { system: unescape(system), code: unescape(code), value: unescape(value) })
        }
        _ => Err((IssueCode::Value, "expected system|code|value")),
    }
}

fn bounds(raw: &str) -> Result<(Prefix, Bounds), Wrong> {
    let (prefix, rest) = Prefix::split(raw);
    let exact = Decimal::parse(rest).ok_or((IssueCode::Value, "expected a prefix and a number"))?;
    let (low, high) = if prefix == Prefix::Ap { exact.about() } else { exact.range() };
    Ok((prefix, Bounds { exact, low, high }))
}

fn quantity(raw: &str) -> Result<Term, Wrong> {
    let pieces = split(raw, '|');
    let (number, unit) = match pieces.as_slice() {
        [number] | [number, "", ""] => (*number, Unit::Any),
        [number, "", unit] => (*number, Unit::Either(unescape(unit))),
        [number, system, code] if !code.is_empty() => {
            (*number, Unit::Coded(unescape(system), unescape(code)))
        }
        _ => return Err((IssueCode::Value, "expected number, number|system|code or number||unit")),
    };
    let (prefix, bounds) = bounds(number)?;
    Ok(match &unit {
        Unit::Coded(system, code) if system == UCUM => match Measure::find(code) {
            Some(measure) => Term::Measure(prefix, measure.of_bounds(&bounds), measure.of),
            None => Term::Quantity(prefix, bounds, unit),
        },
        _ => Term::Quantity(prefix, bounds, unit),
    })
}

/// Splits where this character stands without a backslash before it (FHIR R4 search.html#escaping).
pub(super) fn split(raw: &str, at: char) -> Vec<&str> {
    let (mut pieces, mut from, mut escaped) = (Vec::new(), 0, false);
    for (place, letter) in raw.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == at => {
                pieces.extend(raw.get(from..place));
                from = place + letter.len_utf8();
            }
            _ => {}
        }
    }
    pieces.extend(raw.get(from..));
    pieces
}

/// Takes the backslashes away.
pub(super) fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut letters = raw.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => out.extend(letters.next()),
            other => out.push(other),
        }
    }
    out
}
