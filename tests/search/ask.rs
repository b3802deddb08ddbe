//! A random search: how it is drawn from the records, written as a URL, and what it should find.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    draw::Draw,
    expression::Expression,
    truth::{self, Row, Sort, TABLE, World, codes, plain, range, row, scaled, span, texts, values},
};

const KINDS: [&str; 14] = [
    "Patient",
    "Patient",
    "Patient",
    "Observation",
    "Observation",
    "Observation",
    "Encounter",
    "Encounter",
    "Condition",
    "Procedure",
    "Immunization",
    "DiagnosticReport",
    "Organization",
    "Practitioner",
];
/// Types that are searched at once: each has a patient.
const TOGETHER: [&str; 6] =
    ["Observation", "Encounter", "Condition", "Procedure", "Immunization", "DiagnosticReport"];
pub(crate) const PREFIXES: [&str; 10] = ["", "eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap"];

/// One value that is looked for.
#[derive(Clone, Debug)]
pub(crate) enum Term {
    Begins(String),
    Contains(String),
    Exactly(String),
    /// `None` is any system, `Some(None)` none.
    Token(Option<Option<String>>, Option<String>),
    Reference(String, String),
    Date(&'static str, String),
    Quantity(&'static str, String, Option<String>),
    /// With a code of UCUM.
    Measure(&'static str, String, String),
    /// Code and quantity of one element.
    Both(Box<Term>, Box<Term>),
}

/// One parameter.
#[derive(Debug)]
enum Filter {
    Values {
        row: &'static Row,
        modifier: &'static str,
        any: Vec<Term>,
    },
    Composite {
        code: &'static str,
        inside: &'static str,
        any: Vec<Term>,
    },
    Missing(&'static Row, bool),
    Chain {
        row: &'static Row,
        to: &'static str,
        typed: bool,
        filter: Box<Filter>,
    },
    Has {
        from: &'static str,
        row: &'static Row,
        filter: Box<Filter>,
    },
    Id(Vec<String>),
    Expression(Expression),
    /// A List, by id.
    Named(String),
}

/// A whole search.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) kinds: Vec<&'static str>,
    filters: Vec<Filter>,
    sort: Vec<(&'static Row, bool)>,
    include: Option<&'static Row>,
    pages: usize,
}

pub(crate) fn rows_of(kind: &str) -> Vec<&'static Row> {
    TABLE.iter().filter(|row| row.0 == kind).collect()
}

impl Search {
    pub(crate) fn draw(world: &World, draw: &mut Draw) -> Self {
        if draw.percent(8) {
            return Self::together(world, draw);
        }
        let kind = *draw.of(&KINDS);
        let mut filters = vec![Filter::draw(world, draw, kind, 0)];
        while filters.len() < 4 && draw.percent(35) {
            filters.push(Filter::draw(world, draw, kind, 0));
        }
        if rows_of(kind).iter().any(|row| row.1 == "patient") && draw.percent(50) {
            let row = row(kind, "patient");
            filters.push(Filter::Values {
                row,
                modifier: "",
                any: vec![term(world, draw, row, "").unwrap()],
            });
        }
        if draw.percent(18) {
            filters.push(Filter::Expression(Expression::draw(world, draw, kind, 0)));
        }
        if draw.percent(6) {
            filters.push(Filter::Named(draw.of(world.list("List"))["id"].as_str().unwrap().to_owned()));
        }
        let rows = rows_of(kind);
        let sortable: Vec<_> =
            rows.iter().filter(|row| matches!(row.2, Sort::Date | Sort::Text | Sort::Quantity)).collect();
        let mut sort = Vec::new();
        if draw.percent(25) && !sortable.is_empty() {
            sort.push((**draw.of(&sortable), draw.percent(50)));
        }
        let references: Vec<_> = rows.iter().filter(|row| matches!(row.2, Sort::Reference(_))).collect();
        let include = (draw.percent(15) && !references.is_empty()).then(|| **draw.of(&references));
        Self { kinds: vec![kind], filters, sort, include, pages: 1 + draw.below(3) }
    }

    /// A search of several types, by parameters that all of them have.
    fn together(world: &World, draw: &mut Draw) -> Self {
        let mut kinds: Vec<&'static str> = (0..2 + draw.below(3)).map(|_| *draw.of(&TOGETHER)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let has = |kind: &str, code: &str| TABLE.iter().any(|row| row.0 == kind && row.1 == code);
        let common: Vec<&'static Row> =
            rows_of(kinds[0]).into_iter().filter(|one| kinds.iter().all(|kind| has(kind, one.1))).collect();
        let mut filters = Vec::new();
        for _ in 0..1 + draw.below(2) {
            // A value of any of them is asked of all of them.
            let code = draw.of(&common).1;
            let kind: &&str = draw.of(&kinds);
            let row = row(kind, code);
            match term(world, draw, row, "") {
                Some(term) if draw.percent(90) => {
                    filters.push(Filter::Values { row, modifier: "", any: vec![term] })
                }
                _ => filters.push(Filter::Missing(row, draw.percent(50))),
            }
        }
        if draw.percent(15) {
            filters.push(Filter::Named(draw.of(world.list("List"))["id"].as_str().unwrap().to_owned()));
        }
        Self { kinds, filters, sort: Vec::new(), include: None, pages: 1 + draw.below(3) }
    }

    /// What narrows the search without leaving anything out: every patient there is.
    pub(crate) fn everybody(&self, world: &World) -> String {
        let ids: Vec<&str> = world.all("Patient").map(|one| one["id"].as_str().unwrap()).collect();
        let code = if self.kinds == ["Patient"] { "_id" } else { "patient" };
        format!("{code}={}", ids.join(","))
    }

    /// The URL, in pages so that `expected` matches fill a few.
    pub(crate) fn url(&self, expected: usize) -> String {
        let mut parts: Vec<String> = self
            .filters
            .iter()
            .map(|filter| {
                let (name, value) = filter.written();
                format!("{name}={}", escape(&value))
            })
            .collect();
        if !self.sort.is_empty() {
            let keys: Vec<String> = self
                .sort
                .iter()
                .map(|(row, down)| format!("{}{}", if *down { "-" } else { "" }, row.1))
                .collect();
            parts.push(format!("_sort={}", keys.join(",")));
        }
        if let Some(row) = self.include {
            parts.push(format!("_include={}:{}", row.0, row.1));
        }
        parts.push(format!("_count={}", expected / self.pages + 1));
        match self.kinds.as_slice() {
            [kind] => format!("/fhir/{kind}?{}", parts.join("&")),
            kinds => format!("/fhir?_type={}&{}", kinds.join(","), parts.join("&")),
        }
    }

    pub(crate) fn holds(&self, world: &World, resource: &Value) -> bool {
        self.filters.iter().all(|filter| filter.holds(world, resource))
    }

    /// What should come with the matches.
    pub(crate) fn included(&self, world: &World, matches: &BTreeSet<String>) -> BTreeSet<String> {
        let Some(row) = self.include else { return BTreeSet::new() };
        let targets = matches.iter().filter_map(|name| world.get(name)).flat_map(|one| values(row, one));
        let names = targets.filter_map(|value| value["reference"].as_str());
        names
            .filter(|name| world.get(name).is_some() && !matches.contains(*name))
            .map(str::to_owned)
            .collect()
    }

    /// Whether the matches stand in the order of the first key; what has no value comes last.
    pub(crate) fn in_order(&self, world: &World, found: &[String]) -> bool {
        let Some((row, down)) = self.sort.first() else { return true };
        let keys: Vec<Option<Key>> =
            found.iter().map(|name| Key::of(row, world.get(name).unwrap(), *down)).collect();
        keys.windows(2).all(|pair| match (&pair[0], &pair[1]) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(a), Some(b)) => {
                if *down {
                    a >= b
                } else {
                    a <= b
                }
            }
        })
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Text(String),
    Number(i128),
}

impl Key {
    fn of(row: &Row, resource: &Value, down: bool) -> Option<Self> {
        let all = values(row, resource).into_iter().flat_map(|value| match row.2 {
            Sort::Date => {
                span(value).map(|(from, _)| Self::Number(from.unwrap_or(i128::MIN))).into_iter().collect()
            }
            Sort::Quantity => value
                .get("value")
                .map(|v| Self::Number(scaled(&v.to_string())))
                .into_iter()
                .collect::<Vec<_>>(),
            sort => texts(sort, value)
                .iter()
                .map(|text| Self::Text(plain(text).chars().take(40).collect()))
                .collect(),
        });
        if down { all.max() } else { all.min() }
    }
}

impl Filter {
    fn draw(world: &World, draw: &mut Draw, kind: &'static str, depth: usize) -> Self {
        let rows = rows_of(kind);
        if depth == 0 && draw.percent(8) {
            let ids =
                (0..=draw.below(4)).map(|_| draw.of(world.list(kind))["id"].as_str().unwrap().to_owned());
            return Self::Id(ids.collect());
        }
        if depth < 2 && draw.percent(12) {
            let references: Vec<&'static Row> =
                rows.iter().copied().filter(|row| matches!(row.2, Sort::Reference(_))).collect();
            if !references.is_empty() {
                let row = *draw.of(&references);
                let Sort::Reference(to) = row.2 else { unreachable!() };
                let typed = draw.percent(60) || !matches!(row.1, "patient" | "encounter" | "result");
                return Self::Chain {
                    row,
                    to,
                    typed,
                    filter: Box::new(Self::draw(world, draw, to, depth + 1)),
                };
            }
        }
        if depth < 2 && draw.percent(10) {
            let back: Vec<&'static Row> = TABLE.iter().filter(|row| row.2 == Sort::Reference(kind)).collect();
            if !back.is_empty() {
                let row = *draw.of(&back);
                return Self::Has {
                    from: row.0,
                    row,
                    filter: Box::new(Self::draw(world, draw, row.0, depth + 1)),
                };
            }
        }
        if kind == "Observation" && draw.percent(15) {
            return Self::composite(world, draw);
        }
        let row = *draw.of(&rows);
        if draw.percent(6) {
            return Self::Missing(row, draw.percent(50));
        }
        let modifier = match row.2 {
            Sort::Text | Sort::HumanName | Sort::Address if draw.percent(30) => {
                *draw.of(&["exact", "contains"])
            }
            Sort::Concept | Sort::Code(_) | Sort::Identifier if draw.percent(12) => "not",
            _ => "",
        };
        let any = (0..=usize::from(draw.percent(20)))
            .filter_map(|_| term(world, draw, row, modifier))
            .collect::<Vec<_>>();
        if any.is_empty() { Self::Missing(row, true) } else { Self::Values { row, modifier, any } }
    }

    fn composite(world: &World, draw: &mut Draw) -> Self {
        let (code, inside) = *draw.of(&[
            ("code-value-quantity", ""),
            ("component-code-value-quantity", "component"),
            ("combo-code-value-quantity", "both"),
        ]);
        let (of_code, of_value) = if inside == "component" {
            ("component-code", "component-value-quantity")
        } else {
            ("code", "value-quantity")
        };
        let both = (
            term(world, draw, row("Observation", of_code), ""),
            term(world, draw, row("Observation", of_value), ""),
        );
        match both {
            (Some(code_term), Some(value)) => {
                Self::Composite { code, inside, any: vec![Term::Both(Box::new(code_term), Box::new(value))] }
            }
            _ => Self::Missing(row("Observation", "code"), false),
        }
    }

    fn written(&self) -> (String, String) {
        let list = |any: &[Term]| any.iter().map(Term::written).collect::<Vec<_>>().join(",");
        match self {
            Self::Values { row, modifier: "", any } => (row.1.to_owned(), list(any)),
            Self::Values { row, modifier, any } => (format!("{}:{modifier}", row.1), list(any)),
            Self::Composite { code, any, .. } => ((*code).to_owned(), list(any)),
            Self::Missing(row, missing) => (format!("{}:missing", row.1), missing.to_string()),
            Self::Chain { row, to, typed, filter } => {
                let (name, value) = filter.written();
                let kind = if *typed { format!(":{to}") } else { String::new() };
                (format!("{}{kind}.{name}", row.1), value)
            }
            Self::Has { from, row, filter } => {
                let (name, value) = filter.written();
                (format!("_has:{from}:{}:{name}", row.1), value)
            }
            Self::Id(ids) => ("_id".to_owned(), ids.join(",")),
            Self::Expression(expression) => ("_filter".to_owned(), expression.written()),
            Self::Named(id) => ("_list".to_owned(), id.clone()),
        }
    }

    fn holds(&self, world: &World, resource: &Value) -> bool {
        match self {
            Self::Values { row, modifier, any } => {
                let row = of_its_own(row, resource);
                let found =
                    values(row, resource).iter().any(|value| any.iter().any(|term| term.holds(row.2, value)));
                found != (*modifier == "not")
            }
            Self::Composite { inside, any, .. } => {
                let mut parts = Vec::new();
                if *inside != "component" {
                    parts.push(resource);
                }
                if !inside.is_empty() {
                    parts.extend(resource.get("component").and_then(Value::as_array).into_iter().flatten());
                }
                parts.iter().any(|part| {
                    any.iter().any(|term| {
                        let Term::Both(code, value) = term else { unreachable!() };
                        let has = |name: &str, sort, term: &Term| {
                            part.get(name).is_some_and(|one| term.holds(sort, one))
                        };
                        has("code", Sort::Concept, code) && has("valueQuantity", Sort::Quantity, value)
                    })
                })
            }
            Self::Missing(row, missing) => values(of_its_own(row, resource), resource).is_empty() == *missing,
            Self::Expression(expression) => expression.holds(world, resource),
            Self::Named(id) => {
                let list = world.get(&format!("List/{id}")).unwrap();
                let name = truth::name(resource);
                let items = list["entry"].as_array().unwrap().iter();
                items
                    .filter(|one| one["deleted"] != true)
                    .any(|one| one["item"]["reference"] == name.as_str())
            }
            Self::Chain { row, to, filter, .. } => values(row, resource).iter().any(|value| {
                let target = value["reference"].as_str().and_then(|name| world.get(name));
                target.is_some_and(|one| one["resourceType"] == *to && filter.holds(world, one))
            }),
            Self::Has { from, row, filter } => {
                let name = truth::name(resource);
                let points =
                    |one: &Value| values(row, one).iter().any(|value| value["reference"] == name.as_str());
                world.all(from).any(|one| points(one) && filter.holds(world, one))
            }
            Self::Id(ids) => ids.iter().any(|id| resource["id"] == id.as_str()),
        }
    }
}

/// The row of the same parameter for the resource's own type.
fn of_its_own(row: &'static Row, resource: &Value) -> &'static Row {
    let own = |one: &&Row| resource["resourceType"] == one.0 && one.1 == row.1;
    TABLE.iter().find(own).unwrap_or(row)
}

/// A term that is often met: made from a value of a record, and sometimes changed.
pub(crate) fn term(world: &World, draw: &mut Draw, row: &'static Row, modifier: &str) -> Option<Term> {
    let found: Vec<Value> = (0..6)
        .flat_map(|_| values(row, draw.of(world.list(row.0))).into_iter().cloned().collect::<Vec<_>>())
        .collect();
    if found.is_empty() {
        return None;
    }
    let value = draw.of(&found).clone();
    Some(match row.2 {
        Sort::Text | Sort::HumanName | Sort::Address => {
            let all = texts(row.2, &value);
            let text = draw.of(&all).clone();
            let letters: Vec<char> = text.chars().collect();
            let length = 1 + draw.below(letters.len());
            match modifier {
                "exact" if draw.percent(70) => Term::Exactly(text),
                "exact" => Term::Exactly(letters[..length].iter().collect()),
                "contains" => {
                    let from = draw.below(letters.len());
                    Term::Contains(trimmed(&letters[from..letters.len().min(from + length)], &text))
                }
                _ => {
                    let begins: String = trimmed(&letters[..length], &text);
                    Term::Begins(if draw.percent(30) { begins.to_uppercase() } else { begins })
                }
            }
        }
        Sort::Concept | Sort::Coding | Sort::Code(_) | Sort::Identifier | Sort::Contact => {
            let all = codes(row.2, &value);
            if all.is_empty() {
                return None;
            }
            let (system, code) = draw.of(&all).clone();
            let code = if draw.percent(8) { format!("{code}x") } else { code };
            match draw.below(10) {
                0..5 => Term::Token(None, Some(code)),
                5..8 => Term::Token(Some(system), Some(code)),
                8 if system.is_some() => Term::Token(Some(system), None),
                _ => Term::Token(Some(None), Some(code)),
            }
        }
        Sort::Reference(kind) => {
            let name = value["reference"].as_str()?;
            let other = draw.percent(10);
            let name = if other { truth::name(draw.of(world.list(kind))) } else { name.to_owned() };
            let form = if kind == "Patient" && draw.percent(30) {
                name.split_once('/')?.1.to_owned()
            } else {
                name.clone()
            };
            Term::Reference(name, form)
        }
        Sort::Date => {
            let text = value
                .as_str()
                .map(str::to_owned)
                .or_else(|| Some(value.get("start")?.as_str()?.to_owned()))?;
            let cut = *draw.of(&[4, 7, 10, text.len()]);
            let mut text = text[..cut.min(text.len())].to_owned();
            if draw.percent(25) && text.len() >= 4 {
                let year: i32 = text[..4].parse().ok()?;
                text = format!("{:04}", year + 1 - draw.below(3) as i32);
            }
            Term::Date(PREFIXES[draw.below(PREFIXES.len())], text)
        }
        Sort::Canonical => Term::Exactly(value.as_str()?.to_owned()),
        Sort::Quantity => {
            let number = value.get("value")?.to_string();
            if draw.percent(35)
                && let Some(measure) = measure(draw, &value, &number)
            {
                return Some(measure);
            }
            let whole = number.split('.').next()?.to_owned();
            let text = match draw.below(4) {
                0 => number,
                1 => whole,
                2 => format!("{whole}.0"),
                _ => {
                    number.chars().take(whole.len() + 3).collect::<String>().trim_end_matches('.').to_owned()
                }
            };
            let unit = draw
                .percent(40)
                .then(|| value.get("unit").and_then(Value::as_str).map(str::to_owned))
                .flatten();
            Term::Quantity(PREFIXES[draw.below(PREFIXES.len())], text, unit)
        }
    })
}

/// A number near the value's, in some unit that measures the same.
fn measure(draw: &mut Draw, value: &Value, number: &str) -> Option<Term> {
    let of = truth::unit(value.get("code")?.as_str()?)?;
    let others: Vec<_> = truth::UNITS.iter().filter(|unit| unit.1 == of.1).collect();
    let (code, _, factor, added) = **draw.of(&others);
    let near = (number.parse::<f64>().ok()? * of.2 as f64 + (of.3 - added) as f64) / factor as f64;
    let digits = draw.below(5);
    let text = if near.abs() < 1e-3 { format!("{near:.digits$e}") } else { format!("{near:.digits$}") };
    Some(Term::Measure(PREFIXES[draw.below(PREFIXES.len())], text, code.to_owned()))
}

/// Letters without white space at the ends: the server takes it away. None left: the first word instead.
fn trimmed(letters: &[char], whole: &str) -> String {
    let text = letters.iter().collect::<String>().trim().to_owned();
    if text.is_empty() { whole.split(' ').next().unwrap_or("x").to_owned() } else { text }
}

impl Term {
    pub(crate) fn written(&self) -> String {
        let guard = |text: &str| {
            text.chars().fold(String::new(), |mut out, letter| {
                if matches!(letter, ',' | '$' | '|' | '\\') {
                    out.push('\\');
                }
                out.push(letter);
                out
            })
        };
        match self {
            Self::Begins(text) | Self::Contains(text) | Self::Exactly(text) => guard(text),
            Self::Token(system, code) => {
                let code = code.as_deref().map(guard).unwrap_or_default();
                match system {
                    None => code,
                    Some(system) => format!("{}|{code}", guard(system.as_deref().unwrap_or_default())),
                }
            }
            Self::Reference(_, form) => form.clone(),
            Self::Date(prefix, text) => format!("{prefix}{text}"),
            Self::Quantity(prefix, number, None) => format!("{prefix}{number}"),
            Self::Quantity(prefix, number, Some(unit)) => format!("{prefix}{number}||{}", guard(unit)),
            Self::Measure(prefix, number, code) => {
                format!("{prefix}{number}|http://unitsofmeasure.org|{}", guard(code))
            }
            Self::Both(code, value) => format!("{}${}", code.written(), value.written()),
        }
    }

    pub(crate) fn holds(&self, sort: Sort, value: &Value) -> bool {
        let squeezed = |text: &str| plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
        match self {
            Self::Begins(wanted) => {
                texts(sort, value).iter().any(|text| squeezed(text).starts_with(&squeezed(wanted)))
            }
            Self::Contains(wanted) => {
                texts(sort, value).iter().any(|text| squeezed(text).contains(&squeezed(wanted)))
            }
            Self::Exactly(wanted) => texts(sort, value).contains(wanted),
            Self::Token(system, code) => codes(sort, value).iter().any(|(of, one)| {
                let is_code = matches!(sort, Sort::Code(_));
                let fits = match system {
                    None => true,
                    Some(None) => of.is_none() || is_code,
                    Some(system) => of == system,
                };
                fits && code.as_ref().is_none_or(|code| code.to_lowercase() == one.to_lowercase())
            }),
            Self::Reference(name, _) => value["reference"] == name.as_str(),
            Self::Date(prefix, text) => span(value).is_some_and(|span| date_holds(prefix, text, span)),
            Self::Quantity(prefix, number, unit) => {
                let fits = unit
                    .as_ref()
                    .is_none_or(|unit| value["unit"] == unit.as_str() || value["code"] == unit.as_str());
                fits && value
                    .get("value")
                    .is_some_and(|stored| number_holds(prefix, number, scaled(&stored.to_string())))
            }
            Self::Measure(prefix, number, code) => {
                let of = |value: &Value| {
                    let coded = value["system"] == "http://unitsofmeasure.org";
                    value["code"].as_str().filter(|_| coded).and_then(truth::unit)
                };
                let wanted = truth::unit(code).unwrap();
                let stored = of(value).filter(|unit| unit.1 == wanted.1).zip(value.get("value"));
                stored.is_some_and(|(unit, number_held)| {
                    measure_holds(prefix, (number, wanted), (&number_held.to_string(), unit))
                })
            }
            Self::Both(..) => unreachable!(),
        }
    }
}

fn date_holds(prefix: &str, text: &str, (low, high): (Option<i128>, Option<i128>)) -> bool {
    let (from, until) = range(text);
    let contained = low.is_some_and(|low| from <= low) && high.is_some_and(|high| high <= until);
    let above = high.is_none_or(|high| high > until);
    let below = low.is_none_or(|low| low < from);
    match prefix {
        "" | "eq" => contained,
        "ne" => !contained,
        "gt" => above,
        "ge" => above || contained,
        "lt" => below,
        "le" => below || contained,
        "sa" => low.is_some_and(|low| low >= until),
        "eb" => high.is_some_and(|high| high <= from),
        _ => {
            let now = i128::from(custodia::clock::Clock::machine().now().timestamp_nanos_opt().unwrap());
            let gap = (now - from).abs() / 10;
            low.is_none_or(|low| low < until + gap) && high.is_none_or(|high| high > from - gap)
        }
    }
}

type Unit = (&'static str, &'static str, i128, i128);

/// Both numbers as the smallest unit has them.
fn measure_holds(prefix: &str, (text, wanted): (&str, &Unit), (stored, unit): (&str, &Unit)) -> bool {
    const ONE: i128 = 10_i128.pow(20);
    let exact = scaled(text);
    let (digits, exponent) = text.split_once('e').map_or((text, 0), |(a, b)| (a, b.parse::<i32>().unwrap()));
    let places = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
    let half = 10_i128.pow(u32::try_from(20 - places + exponent).unwrap()) / 2;
    let tenth = (exact / 10).abs();
    let of = |number: i128| number * wanted.2 + wanted.3 * ONE;
    let stored = scaled(stored) * unit.2 + unit.3 * ONE;
    let inside = of(exact - half) <= stored && stored < of(exact + half);
    match prefix {
        "" | "eq" => inside,
        "ne" => !inside,
        "gt" | "sa" => stored > of(exact),
        "ge" => stored >= of(exact),
        "lt" | "eb" => stored < of(exact),
        "le" => stored <= of(exact),
        _ => of(exact - tenth) <= stored && stored <= of(exact + tenth),
    }
}

fn number_holds(prefix: &str, text: &str, stored: i128) -> bool {
    let exact = scaled(text);
    let places = text.split_once('.').map_or(0, |(_, fraction)| fraction.len() as u32);
    let half = 10_i128.pow(20 - places) / 2;
    match prefix {
        "" | "eq" => exact - half <= stored && stored < exact + half,
        "ne" => !(exact - half <= stored && stored < exact + half),
        "gt" | "sa" => stored > exact,
        "ge" => stored >= exact,
        "lt" | "eb" => stored < exact,
        "le" => stored <= exact,
        _ => {
            let tenth = (exact / 10).abs();
            exact - tenth <= stored && stored <= exact + tenth
        }
    }
}

/// Percent-encodes everything that is not a plain letter or digit.
pub(crate) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}
