//! What the same PostgreSQL does without a server in front: the floor under every figure.
//!
//! One prepared statement per request over one connection per client, on a scratch table of the same size of
//! row. Imports `demo`, `fault`, `histogram` and `random`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::{demo, fault::Fault, histogram::Histogram, random::Random};

/// As long as an Observation.
const ROW_BYTES: usize = 1_250;
const CREATE: &str = "
    DROP SCHEMA IF EXISTS custodia_load_floor CASCADE;
    CREATE SCHEMA custodia_load_floor;
    CREATE TABLE custodia_load_floor.row (id uuid PRIMARY KEY, body bytea NOT NULL);
    ALTER TABLE custodia_load_floor.row ALTER COLUMN body SET STORAGE EXTERNAL;";
const DROP: &str = "DROP SCHEMA IF EXISTS custodia_load_floor CASCADE";
const INSERT: &str = "INSERT INTO custodia_load_floor.row (id, body) VALUES ($1, $2)";
const SELECT: &str = "SELECT body FROM custodia_load_floor.row WHERE id = $1";

/// One statement at one number of clients.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Rate {
    /// Statements a second.
    pub(crate) per_s: f64,
    /// Half of them took no longer, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99 % of them took no longer, in milliseconds.
    pub(crate) p99_ms: f64,
}

/// Both statements at one number of clients.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Floor {
    /// How many clients.
    pub(crate) clients: u32,
    /// A prepared SELECT by primary key.
    pub(crate) select: Rate,
    /// A prepared INSERT, one row a transaction.
    pub(crate) insert: Rate,
}

/// The scratch table, and who may use it.
pub(crate) struct Ground {
    url: String,
    ids: Arc<Vec<Uuid>>,
}

#[derive(Clone, Copy)]
enum Statement {
    Select,
    Insert,
}

impl Ground {
    /// Makes the table and fills it with as many rows as there are Observations.
    pub(crate) async fn lay(url: &str, rows: u64, seed: u64) -> Result<Self, Fault> {
        let client = connect(url).await?;
        client.batch_execute(CREATE).await?;
        let mut random = Random::new(seed, u64::MAX);
        let ids: Vec<_> = (0..rows).map(|_| random.uuid()).collect();
        let fill = "INSERT INTO custodia_load_floor.row SELECT id, $2 FROM unnest($1::uuid[]) AS id";
        for chunk in ids.chunks(1_000) {
            client.execute(fill, &[&chunk, &body(&mut random)]).await?;
        }
        client.batch_execute("ANALYZE custodia_load_floor.row").await?;
        Ok(Self { url: url.to_owned(), ids: Arc::new(ids) })
    }

    /// Measures both statements.
    pub(crate) async fn measure(&self, clients: u32, time: Duration, seed: u64) -> Result<Floor, Fault> {
        let select = self.rate(Statement::Select, clients, time, seed).await?;
        let insert = self.rate(Statement::Insert, clients, time, seed.wrapping_add(1)).await?;
        Ok(Floor { clients, select, insert })
    }

    /// How many bytes a thousand of the rows take, index and all.
    pub(crate) async fn bytes_per_1000(&self) -> Result<f64, Fault> {
        let client = connect(&self.url).await?;
        let ask =
            "SELECT pg_total_relation_size('custodia_load_floor.row'), count(*) FROM custodia_load_floor.row";
        let row = client.query_one(ask, &[]).await?;
        let (bytes, rows): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok(bytes as f64 * 1_000.0 / rows.max(1) as f64)
    }

    async fn rate(
        &self,
        statement: Statement,
        clients: u32,
        time: Duration,
        seed: u64,
    ) -> Result<Rate, Fault> {
        let mut tasks = JoinSet::new();
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(connect(&self.url).await?);
        }
        let (began, end) = (Instant::now(), Instant::now() + time);
        for (number, client) in (0..).zip(connections) {
            let random = Random::new(seed, (u64::from(clients) << 40) | (1 << 32) | number);
            tasks.spawn(run(client, statement, Arc::clone(&self.ids), random, end));
        }
        let mut latencies = Histogram::default();
        while let Some(ended) = tasks.join_next().await {
            latencies.merge(&ended.map_err(|_| Fault::refused("a floor's client failed"))??);
        }
        let per_s = latencies.total() as f64 / began.elapsed().as_secs_f64();
        Ok(Rate { per_s, p50_ms: latencies.per_mille_ms(500), p99_ms: latencies.per_mille_ms(990) })
    }
}

/// Removes the scratch table; also after a run that was broken off.
pub(crate) async fn clear(url: &str) -> Result<(), Fault> {
    Ok(connect(url).await?.batch_execute(DROP).await?)
}

/// How many bytes the database takes.
pub(crate) async fn database_bytes(url: &str) -> Result<i64, Fault> {
    let client = connect(url).await?;
    Ok(client.query_one("SELECT pg_database_size(current_database())", &[]).await?.try_get(0)?)
}

async fn run(
    client: Client,
    statement: Statement,
    ids: Arc<Vec<Uuid>>,
    mut random: Random,
    end: Instant,
) -> Result<Histogram, Fault> {
    let sql = match statement {
        Statement::Select => SELECT,
        Statement::Insert => INSERT,
    };
    let prepared = client.prepare(sql).await?;
    let body = body(&mut random);
    let mut latencies = Histogram::default();
    while Instant::now() < end {
        let sent = Instant::now();
        match statement {
            Statement::Select => {
                let id = random.pick(&ids).ok_or_else(|| Fault::refused("the floor has no rows"))?;
                let row = client.query_one(&prepared, &[id]).await?;
                if row.try_get::<_, &[u8]>(0)?.len() != ROW_BYTES {
                    return Err(Fault::refused("the floor read another row than it wrote"));
                }
            }
            Statement::Insert => {
                client.execute(&prepared, &[&random.uuid(), &body]).await?;
            }
        }
        latencies.record(sent.elapsed());
    }
    Ok(latencies)
}

/// Bytes that do not compress, as sealed ones do not.
fn body(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ROW_BYTES + 8);
    while bytes.len() < ROW_BYTES {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(ROW_BYTES);
    bytes
}

/// A connection to a database of this machine.
pub(crate) async fn connect(url: &str) -> Result<Client, Fault> {
    let (client, connection) = demo::local_database(url)?.connect(NoTls).await?;
    tokio::spawn(async move {
        // What breaks a connection shows in the statement that was on it.
        drop(connection.await);
    });
    Ok(client)
}
