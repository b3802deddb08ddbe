//! Single records, fetched many at a time.
//!
//! Whatever waits is asked for in one prepared query (up to [`BATCH_MAX`] keys): under load a fetch costs a
//! fraction of a round trip; alone it waits for nobody. There is one lane, which is one connection, so that what waits
//! comes together.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, Integer, Nullable, SmallInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    Database, StoreError,
    lane::{self, Pace},
    row::{RawRow, RawStanding, Row, Standing},
    statement::Statement,
};
use crate::{fhir::kinds::ResourceType, tenant::TenantId};

/// The most keys one query asks for.
pub const BATCH_MAX: usize = 256;
/// Requests that may wait; past it the caller is told that the database is away.
pub const WAITING_MAX: usize = 4_096;
/// How long a fetch may take, waiting included.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(2);

const RECORDS: &str = "
SELECT k.position, r.tenant, r.type AS kind, r.key, r.version, r.updated, r.deleted, r.owner, r.owner_version,
       r.body, r.entry, d.wrapped,
       ARRAY(SELECT DISTINCT ON (x.kind) int2send(x.kind) || int2send(x.source_type) || uuid_send(x.source_key)
                    || timestamptz_send(x.since) || timestamptz_send(x.until) || x.proof
             FROM relation x
             WHERE x.tenant = r.tenant AND x.patient = r.owner AND x.actor = k.actor
               AND x.since <= ? AND x.until > ? ORDER BY x.kind LIMIT 8) AS relations
FROM unnest(?, ?, ?, ?, ?) AS k(position, tenant, type, key, actor)
JOIN record r ON r.tenant = k.tenant AND r.type = k.type AND r.key = k.key
LEFT JOIN data_key d ON d.tenant = r.tenant AND d.id = r.owner AND d.version = r.owner_version
     AND d.under = '00000000-0000-0000-0000-000000000000'";

const STANDINGS: &str = "
SELECT k.position, k.patient, d.version, d.wrapped,
       ARRAY(SELECT DISTINCT ON (x.kind) int2send(x.kind) || int2send(x.source_type) || uuid_send(x.source_key)
                    || timestamptz_send(x.since) || timestamptz_send(x.until) || x.proof
             FROM relation x
             WHERE x.tenant = k.tenant AND x.patient = k.patient AND x.actor = k.actor
               AND x.since <= ? AND x.until > ? ORDER BY x.kind LIMIT 8) AS relations
FROM unnest(?, ?, ?, ?) AS k(position, tenant, patient, actor)
LEFT JOIN LATERAL (
    SELECT d.version, d.wrapped FROM data_key d
    WHERE d.tenant = k.tenant AND d.id = k.patient AND d.under = '00000000-0000-0000-0000-000000000000'
    ORDER BY d.version DESC LIMIT 1) d ON true";

/// The way into the lane.
pub struct Fetcher {
    asks: mpsc::Sender<Ask>,
    pace: Arc<Pace>,
}

enum Ask {
    Record {
        tenant: TenantId,
        kind: ResourceType,
        key: Uuid,
        actor: Option<Uuid>,
        now: DateTime<Utc>,
        reply: Reply<Option<Row>>,
    },
    Standing {
        tenant: TenantId,
        patient: Uuid,
        actor: Option<Uuid>,
        now: DateTime<Utc>,
        reply: Reply<Standing>,
    },
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

impl Fetcher {
    /// Starts the lane; it connects when it is first asked, and again after it lost its connection.
    ///
    /// # Errors
    /// [`StoreError::Away`] when there is no thread for it.
    pub fn start(database: &Database) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let pace = Arc::new(Pace::default());
        lane::spawn("fetch", run(database.clone(), Arc::clone(&pace), receiver))?;
        Ok(Self { asks: sender, pace })
    }

    /// What the lane keeps step with.
    #[must_use]
    pub const fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    /// The current version of a record with how `actor` stands to its owner; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer in time.
    pub async fn record(
        &self,
        tenant: TenantId,
        kind: ResourceType,
        key: Uuid,
        actor: Option<Uuid>,
        now: DateTime<Utc>,
    ) -> Result<Option<Row>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Record { tenant, kind, key, actor, now, reply }, answer).await
    }

    /// How `actor` stands to a patient, with the patient's wrapped key.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer in time.
    pub async fn standing(
        &self,
        tenant: TenantId,
        patient: Uuid,
        actor: Option<Uuid>,
        now: DateTime<Utc>,
    ) -> Result<Standing, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Standing { tenant, patient, actor, now, reply }, answer).await
    }

    async fn ask<T>(
        &self,
        ask: Ask,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.asks.try_send(ask).map_err(|_| away("too many requests wait for the database"))?;
        match tokio::time::timeout(FETCH_TIMEOUT, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(away("the lane lost its connection")),
            Err(_) => Err(away("the database did not answer in time")),
        }
    }
}

fn away(why: &'static str) -> StoreError {
    StoreError::Away(why.into())
}

/// The lane: takes what waits, asks, answers. A failed query answers everybody in it and drops the connection.
async fn run(database: Database, pace: Arc<Pace>, mut receiver: mpsc::Receiver<Ask>) {
    let mut connection: Option<AsyncPgConnection> = None;
    let mut asks = Vec::with_capacity(BATCH_MAX);
    while receiver.recv_many(&mut asks, BATCH_MAX).await > 0 {
        pace.wait().await;
        while asks.len() < BATCH_MAX
            && let Ok(ask) = receiver.try_recv()
        {
            asks.push(ask);
        }
        if connection.is_none() {
            connection = connect(&database).await;
        }
        let Some(open) = connection.as_mut() else {
            // Everybody is told at once; the next batch tries to connect again.
            asks.clear();
            continue;
        };
        if answer(open, &mut asks).await.is_err() {
            connection = None;
        }
        asks.clear();
    }
}

async fn connect(database: &Database) -> Option<AsyncPgConnection> {
    let mut connection = tokio::time::timeout(FETCH_TIMEOUT, database.connect()).await.ok()?.ok()?;
    lane::settle(&mut connection).await.ok()?;
    Some(connection)
}

async fn answer(
    connection: &mut AsyncPgConnection,
    asks: &mut Vec<Ask>,
) -> Result<(), diesel::result::Error> {
    let mut records = Batch::default();
    let mut standings = Batch::default();
    for ask in asks.drain(..) {
        match ask {
            Ask::Record { tenant, kind, key, actor, now, reply } => {
                records.push(tenant, Some(kind), key, actor, now, reply);
            }
            Ask::Standing { tenant, patient, actor, now, reply } => {
                standings.push(tenant, None, patient, actor, now, reply);
            }
        }
    }
    if !records.replies.is_empty() {
        let mut replies = std::mem::take(&mut records.replies);
        let rows: Vec<RawRow> = records.into_statement(RECORDS).load(connection).await?;
        for row in rows {
            if let Some(reply) = take(&mut replies, row.position) {
                reply.send(row.into_row().map(Some)).ok();
            }
        }
        for reply in replies.into_iter().flatten() {
            reply.send(Ok(None)).ok();
        }
    }
    if !standings.replies.is_empty() {
        let mut replies = std::mem::take(&mut standings.replies);
        let rows: Vec<RawStanding> = standings.into_statement(STANDINGS).load(connection).await?;
        for row in rows {
            if let Some(reply) = take(&mut replies, row.position) {
                reply.send(row.into_standing()).ok();
            }
        }
    }
    Ok(())
}

fn take<T>(replies: &mut [Option<T>], position: i32) -> Option<T> {
    usize::try_from(position).ok().and_then(|n| replies.get_mut(n)).and_then(Option::take)
}

/// The parameters of one query, column by column.
struct Batch<T> {
    now: Option<DateTime<Utc>>,
    positions: Vec<i32>,
    tenants: Vec<i32>,
    kinds: Vec<i16>,
    keys: Vec<Uuid>,
    actors: Vec<Option<Uuid>>,
    replies: Vec<Option<Reply<T>>>,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self {
            now: None,
            positions: Vec::new(),
            tenants: Vec::new(),
            kinds: Vec::new(),
            keys: Vec::new(),
            actors: Vec::new(),
            replies: Vec::new(),
        }
    }
}

impl<T> Batch<T> {
    fn push(
        &mut self,
        tenant: TenantId,
        kind: Option<ResourceType>,
        key: Uuid,
        actor: Option<Uuid>,
        now: DateTime<Utc>,
        reply: Reply<T>,
    ) {
        // The requests of one batch arrived within milliseconds of each other; the latest now serves all.
        self.now = self.now.max(Some(now));
        self.positions.push(i32::try_from(self.replies.len()).unwrap_or(i32::MAX));
        self.tenants.push(tenant.0);
        self.kinds.extend(kind.map(ResourceType::code));
        self.keys.push(key);
        self.actors.push(actor);
        self.replies.push(Some(reply));
    }

    fn into_statement(self, text: &'static str) -> Statement {
        let now = self.now.unwrap_or_default();
        let statement = Statement::new(text)
            .bind::<Timestamptz, _>(now)
            .bind::<Timestamptz, _>(now)
            .bind::<Array<Integer>, _>(self.positions)
            .bind::<Array<Integer>, _>(self.tenants);
        let statement =
            if self.kinds.is_empty() { statement } else { statement.bind::<Array<SmallInt>, _>(self.kinds) };
        statement.bind::<Array<SqlUuid>, _>(self.keys).bind::<Array<Nullable<SqlUuid>>, _>(self.actors)
    }
}
