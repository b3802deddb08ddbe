//! A patient's report of who saw her records, to those a policy lets make it (45 CFR 164.528; EHDS Article 9).
//!
//! Newest first, a bounded page at a time. Making it is an entry that names every event it shows.

use chrono::Months;
use custodia_audit::sha256;

use super::{Ask, Failure, forbidden, malformed};
use crate::{
    answer::Answer,
    app::App,
    clock::Clock,
    events::{
        LogId, Place,
        report::{Evidence, Form, Group, Head, Line, Names},
    },
    fhir::{
        kinds::{LogicalId, ResourceType},
        outcome::IssueCode,
        search::{date::DateRange, form},
    },
    gate::Act,
    ledger::{
        Audited, Ledger, LedgerReader, Merge, Opening, Position, ReadError, SCAN_ENTRIES_MAX, Shown, Span,
        StoredEntry,
    },
    refusal::Refusal,
    seal::TenantKeys,
};

/// The most lines of one page.
pub const LINES_MAX: usize = 1_000;
/// How far a report reaches back when nothing is said: six years, as 45 CFR 164.528(a)(1) counts.
const MONTHS_BACK: u32 = 72;

/// What a report is asked for.
pub struct Wanted {
    /// Whose it is.
    pub patient: LogicalId,
    /// From when, in microseconds since 1970.
    pub from_micros: i64,
    /// Until when.
    pub until_micros: i64,
    /// Entries older than these only, in their logs: where the page before ended.
    pub before: Vec<LogId>,
    /// Whether employees are named.
    pub names: Names,
}

/// A page of a report.
pub struct Page {
    /// Its lines, newest first.
    pub lines: Vec<Line>,
    /// What the entry about it names.
    pub shown: Vec<Shown>,
    /// Where the next page begins in each log, if there may be one.
    pub next: Vec<LogId>,
}

/// `GET /audit/disclosures/{patient}`, with `since`, `until`, `names=show`, `_format` and `_cursor`.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(
    app: &App,
    ask: &Ask,
    patient: &LogicalId,
    query: Option<&str>,
) -> Result<Audited<Answer>, Failure> {
    let permit = app.gate.permit_log(&ask.caller, Act::Disclosures).map_err(forbidden)?;
    let pairs = form::decode_both(query, None).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    let (form, wanted) = wanted(&app.clock, patient, &pairs)?;
    if wanted.names == Names::Shown {
        let _named = app.gate.permit_log(&ask.caller, Act::Names).map_err(forbidden)?;
    }
    let keys = app.keyring.tenant(ask.caller.tenant())?;
    let head = head(&app.ledger, &app.clock, ask.caller.tenant_name(), &wanted);
    let page = Page::of(&app.ledger, &keys, ask.caller.tenant(), &wanted).await?;
    let next = (!page.next.is_empty()).then(|| next_link(app, patient, &pairs, &page.next));
    let body = text(form, &head, &page.lines, next.as_deref());
    let answer =
        Answer { content_type: Some(form.media().into()), body: body.into_bytes(), ..Answer::empty(200) }
            .with_header("cache-control", "no-store")
            .with_header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'");
    Ok(app.ledger.reveal(&ask.access, &permit, page.shown, answer).await?)
}

/// A whole page in one form.
#[must_use]
pub fn text(form: Form, head: &Head, lines: &[Line], next: Option<&str>) -> String {
    let mut text = form.head(head);
    for (at, line) in lines.iter().enumerate() {
        text.push_str(&form.line(line, at));
    }
    text.push_str(&form.foot(lines.len(), next));
    text
}

/// What stands at the head of a report.
#[must_use]
pub fn head(ledger: &Ledger, clock: &Clock, tenant: &str, wanted: &Wanted) -> Head {
    Head {
        origin: ledger.origin().to_owned(),
        patient: format!("Patient/{}", wanted.patient.as_str()),
        tenant: tenant.to_owned(),
        from_micros: wanted.from_micros,
        until_micros: wanted.until_micros,
        made_micros: clock.now().timestamp_micros(),
        names: wanted.names,
    }
}

impl Wanted {
    /// The last six years of a patient, without names.
    #[must_use]
    pub fn of(clock: &Clock, patient: LogicalId) -> Self {
        let now = clock.now();
        let from = now.checked_sub_months(Months::new(MONTHS_BACK)).unwrap_or(now);
        Self {
            patient,
            from_micros: from.timestamp_micros(),
            until_micros: now.timestamp_micros().saturating_add(1),
            before: Vec::new(),
            names: Names::Withheld,
        }
    }
}

impl Page {
    /// Reads the page that is wanted.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read.
    pub async fn of(
        ledger: &Ledger,
        keys: &TenantKeys,
        tenant: crate::tenant::TenantId,
        wanted: &Wanted,
    ) -> Result<Self, ReadError> {
        let mut page = Self { lines: Vec::new(), shown: Vec::new(), next: Vec::new() };
        let span = Span {
            tenant,
            patients: Some(vec![keys.opaque(ResourceType::PATIENT, wanted.patient.as_str())]),
            from_micros: Some(wanted.from_micros),
            until_micros: None,
            limit: SCAN_ENTRIES_MAX,
        };
        let place = |before: &LogId| Position { shard: before.shard, end: before.index };
        let positions: Vec<Position> = wanted.before.iter().map(place).collect();
        let mut merge = Merge::new(ledger, span, &positions);
        let mut taken = Vec::new();
        while page.lines.len() < LINES_MAX
            && let Some((log, entry)) = merge.next().await?
        {
            if page.take(log, &entry, wanted)? {
                taken.push((log, entry));
            }
        }
        if page.lines.len() >= LINES_MAX {
            page.next = merge.positions().iter().map(|at| LogId::access(at.shard, at.end)).collect();
        }
        page.prove(ledger, &taken, wanted.names).await?;
        Ok(page)
    }

    /// Takes an entry if it belongs into the report.
    fn take(&mut self, log: &LedgerReader, entry: &StoredEntry, wanted: &Wanted) -> Result<bool, ReadError> {
        let Some(told) = entry.entry()? else { return Ok(false) };
        if !(wanted.from_micros..wanted.until_micros).contains(&told.event.time_micros) {
            return Ok(false);
        }
        let shard = log.shard();
        let place = Place { origin: log.origin(), shard, index: entry.index };
        let patient = format!("Patient/{}", wanted.patient.as_str());
        let Some(line) = Line::of(&place, &told, &patient, wanted.names) else { return Ok(false) };
        self.lines.push(line);
        let id = LogId::access(shard, entry.index).to_string();
        self.shown.push(Shown { id, digest: sha256(&[&entry.leaf]) });
        Ok(true)
    }

    /// Adds the evidence: event, subject and object opened, the detail never, the actor where names are shown. The entries are
    /// those of the lines, in their order.
    async fn prove(
        &mut self,
        ledger: &Ledger,
        entries: &[(&LedgerReader, StoredEntry)],
        names: Names,
    ) -> Result<(), ReadError> {
        for log in ledger.readers() {
            let its = |entry: &&(&LedgerReader, StoredEntry)| entry.0.shard() == log.shard();
            let indexes: Vec<u64> = entries.iter().filter(its).map(|(_, entry)| entry.index).collect();
            let proofs = if indexes.is_empty() { Vec::new() } else { log.proofs(&indexes).await? };
            let lines = self.lines.iter_mut().zip(entries).filter(|(_, entry)| its(entry));
            for ((line, (_, entry)), proof) in lines.zip(proofs) {
                let Some(opening) = &entry.opening else { continue };
                let groups = groups(opening, names);
                line.evidence = Some(Evidence { groups, leaf: entry.leaf.clone(), proof });
            }
        }
        Ok(())
    }
}

fn groups(opening: &Opening, names: Names) -> [Group; 5] {
    let [g0, g1, g2, g3, _] = &opening.groups;
    let [s0, s1, s2, s3, _] = &opening.salts.0;
    let [_, d1, _, _, d4] = opening.digests();
    let opened = |salt: &[u8; 32], bytes: &Vec<u8>| Group::Opened { salt: *salt, bytes: bytes.clone() };
    let actor = match names {
        Names::Shown => opened(s1, g1),
        Names::Withheld => Group::Withheld(d1),
    };
    // The detail holds the query, which may name others.
    [opened(s0, g0), actor, opened(s2, g2), opened(s3, g3), Group::Withheld(d4)]
}

fn wanted(clock: &Clock, patient: &LogicalId, pairs: &[(String, String)]) -> Result<(Form, Wanted), Failure> {
    let mut wanted = Wanted::of(clock, patient.clone());
    let mut form = Form::Json;
    for (name, value) in pairs {
        let date = || {
            let what = "since and until: expected a date or dateTime.";
            let range = DateRange::parse(value).ok_or_else(|| malformed(IssueCode::Value, what))?;
            Ok::<_, Failure>(range.from.timestamp_micros())
        };
        match (name.as_str(), value.as_str()) {
            ("since", _) => wanted.from_micros = date()?,
            ("until", _) => wanted.until_micros = date()?,
            ("names", "show") => wanted.names = Names::Shown,
            ("names", "withhold") => wanted.names = Names::Withheld,
            ("_format", format) => {
                let what = "_format: expected json, csv or html.";
                form = Form::of_name(format).ok_or_else(|| malformed(IssueCode::Value, what))?;
            }
            ("_cursor", cursor) => {
                let what = "_cursor: expected what a next link of this server holds.";
                wanted.before = LogId::parse_all(cursor).ok_or_else(|| malformed(IssueCode::Value, what))?;
            }
            _ => {
                let what = "A report takes since, until, names=show, _format and _cursor.";
                return Err(malformed(IssueCode::NotSupported, what));
            }
        }
    }
    Ok((form, wanted))
}

fn next_link(app: &App, patient: &LogicalId, pairs: &[(String, String)], before: &[LogId]) -> String {
    let base = app.base.as_str();
    let root = base.strip_suffix("/fhir").unwrap_or(base);
    let mut url = format!("{root}/audit/disclosures/{}", patient.as_str());
    for (name, value) in pairs.iter().filter(|(name, _)| name != "_cursor") {
        form::append(&mut url, name, value);
    }
    form::append(&mut url, "_cursor", &LogId::join(before));
    url
}
