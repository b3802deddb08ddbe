//! First entries of logs begun side by side, and last ones of those that are closed: all get theirs, or none.
//!
//! May import `head`, `keys`, `rows`, `shard`, `signing`. Order, which is the design: 1. lock the heads, in the order of their
//! numbers; 2. look what each log has already; 3. append what it lacks, sign, move its head; 4. commit. If we crash before 4
//! nothing has happened; after it everything has, and the same command, given again, finds nothing to append.

use chrono::{DateTime, Utc};
use custodia_audit::{Checkpoint, Control, Edge, Hash, Leaf, Signer, leaf_hash};
use diesel::{
    OptionalExtension as _, QueryableByName,
    sql_types::{BigInt, Binary, SmallInt, Text, Timestamptz},
};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};

use super::{
    Link, Setup, SetupError,
    head::{self, Head, signed},
    keys::month_of,
    rows::{Rows, insert_tiles},
    shard::Opened,
};
use crate::{
    config::origin_of,
    store::{Database, StoreError, statement::Statement},
    tenant::TenantId,
};

/// What logs are opened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be written.
    Serve,
    /// To be begun, then written: each continues the log of its number, as far as there are any.
    Begin(Vec<Link>),
    /// To be closed for good: the log of this name continues the first of them.
    Close(String),
}

impl Purpose {
    /// The log that this one is to continue.
    pub(super) fn link(&self, number: i16) -> Option<&Link> {
        match self {
            Self::Begin(links) => links.get(usize::try_from(number).ok()?),
            Self::Serve | Self::Close(_) => None,
        }
    }

    /// Name of the log that is to continue this one.
    pub(super) fn next(&self, number: i16) -> Option<String> {
        match self {
            Self::Close(next) => Some(origin_of(next, number)),
            Self::Serve | Self::Begin(_) => None,
        }
    }
}

#[derive(QueryableByName)]
struct ShardsRow {
    #[diesel(sql_type = SmallInt)]
    shards: i16,
}

/// How many logs were written side by side, the first being the one of this name; `None` if it is not in the database.
///
/// # Errors
/// [`StoreError`] when the database is away.
pub async fn side_by_side(database: &Database, origin: &str) -> Result<Option<i16>, StoreError> {
    let mut connection = database.connect().await.map_err(|error| StoreError::Away(Box::new(error)))?;
    let row: Option<ShardsRow> =
        Statement::new("SELECT shards FROM ledger_head WHERE origin = ? ORDER BY shards DESC LIMIT 1")
            .bind::<Text, _>(origin.to_owned())
            .get_result(&mut connection)
            .await
            .optional()?;
    Ok(row.map(|row| row.shards))
}

/// Who appends, and when.
struct By {
    node: String,
    now: DateTime<Utc>,
}

/// Has the heads agree how many logs there are, and appends what the logs are opened for.
pub(super) async fn settle(
    setup: &Setup<'_>,
    opened: &[Opened],
    purpose: &Purpose,
) -> Result<(), SetupError> {
    let connection = setup.database.connect().await;
    let mut connection = connection.map_err(|error| StoreError::Away(Box::new(error)))?;
    let by = By { node: setup.clock.ordered_id().to_string(), now: setup.clock.now() };
    let heads = setup.shard..setup.shard.saturating_add(setup.shards);
    connection
        .transaction(async |connection| {
            let most = head::agree(connection, &heads).await?;
            if most > setup.shards {
                return Err(SetupError::Shards(most));
            }
            let mut begins = false;
            for log in opened.iter().filter(|_| *purpose != Purpose::Serve) {
                let head = head::lock(connection, log.reader.shard()).await?;
                let due = match purpose {
                    Purpose::Serve => Vec::new(),
                    Purpose::Begin(_) => first(connection, (log, &head), purpose, (&by, begins)).await?,
                    Purpose::Close(_) => last(connection, (log, &head), purpose, &by).await?,
                };
                begins |= matches!(purpose, Purpose::Begin(_)) && !due.is_empty();
                if !due.is_empty() {
                    append(connection, (log, &head), due, &by).await?;
                }
            }
            Ok(())
        })
        .await
}

/// What a new log lacks: the entry that says which other it continues. `begins`: whether one before it lacked its own.
async fn first(
    connection: &AsyncPgConnection,
    (log, head): (&Opened, &Head),
    purpose: &Purpose,
    (by, begins): (&By, bool),
) -> Result<Vec<Control>, SetupError> {
    let number = u64::try_from(head.size).unwrap_or(0);
    let Some(Link { origin, size, root }) = purpose.link(log.side.number) else {
        // There are more new logs than there were old ones. It has entries only after the others have theirs.
        return if begins && number > 0 { Err(SetupError::NotNew(number)) } else { Ok(Vec::new()) };
    };
    let time_micros = by.now.timestamp_micros();
    let link = Control::ShardLink { time_micros, origin: origin.clone(), size: *size, root: *root };
    if number == 0 {
        return Ok(vec![link]);
    }
    let has = head::leaf(connection, log.reader.shard(), 0).await?.and_then(|leaf| head::link(&leaf));
    let is_this = has.is_some_and(|has| (&has.origin, &has.size, &has.root) == (origin, size, root));
    if is_this { Ok(Vec::new()) } else { Err(SetupError::NotNew(number)) }
}

/// What a log that is to be closed lacks: this start of ours, and the entry after which there is none.
async fn last(
    connection: &AsyncPgConnection,
    (log, head): (&Opened, &Head),
    purpose: &Purpose,
    by: &By,
) -> Result<Vec<Control>, SetupError> {
    let next = purpose.next(log.side.number).unwrap_or_default();
    match head::closed(connection, log.reader.shard(), head).await? {
        Some(named) if named == next => return Ok(Vec::new()),
        Some(named) => return Err(SetupError::Closed(named)),
        None => {}
    }
    let (node, time_micros) = (by.node.clone(), by.now.timestamp_micros());
    let mut due = vec![Control::Start { node, time_micros, version: env!("CARGO_PKG_VERSION").to_owned() }];
    if log.side.count > 1 {
        due.push(log.side.said(by.node.clone(), time_micros));
    }
    due.push(Control::ShardLink { time_micros, origin: next, size: 0, root: Hash::empty_root().0 });
    Ok(due)
}

/// Appends entries to a log whose head is locked, signs its tree and moves the head.
async fn append(
    connection: &AsyncPgConnection,
    (log, head): (&Opened, &Head),
    due: Vec<Control>,
    by: &By,
) -> Result<(), SetupError> {
    let shard = log.reader.shard();
    let signer = log.signing.after(head).await?;
    let mut edge = head::load_edge(connection, shard, head).await?;
    let (mut rows, mut tiles) = (Rows::default(), Vec::new());
    for control in due {
        let leaf = Leaf::Control(control).to_bytes();
        let index = edge.size();
        tiles.extend(edge.append(leaf_hash(&leaf)));
        rows.push(index, TenantId::HOUSE, month_of(by.now), None, leaf, None);
    }
    rows.insert(connection, shard).await?;
    insert_tiles(connection, shard, tiles).await?;
    let moved = advance(connection, (shard, &edge), &signer, by.now).await;
    moved.map_err(|error| match error {
        Unmoved::Broken(why) => SetupError::Head(why),
        Unmoved::Database(error) => error.into(),
    })
}

/// Why a head was not moved.
pub(super) enum Unmoved {
    /// The key does not sign, or PostgreSQL did not move it.
    Broken(&'static str),
    /// A statement failed.
    Database(diesel::result::Error),
}

/// Signs a tree and moves its head, which is locked, in a transaction that lasts.
pub(super) async fn advance(
    connection: &AsyncPgConnection,
    (shard, edge): (i16, &Edge),
    signer: &Signer,
    now: DateTime<Utc>,
) -> Result<(), Unmoved> {
    let (origin, root) = (signer.name().to_owned(), edge.root());
    let note = signer.sign_checkpoint(&Checkpoint { origin, size: edge.size(), root });
    let note = note.map_err(|_| Unmoved::Broken("the key does not sign"))?;
    let set = "UPDATE ledger_head SET size = ?, root = ?, checkpoint = ?, updated = ? WHERE shard = ?";
    let moved = Statement::new(set)
        .bind::<BigInt, _>(signed(edge.size()))
        .bind::<Binary, _>(root.0.to_vec())
        .bind::<Text, _>(note)
        .bind::<Timestamptz, _>(now)
        .bind::<SmallInt, _>(shard)
        .execute(&mut &*connection)
        .await;
    match moved {
        Ok(1) => Ok(()),
        Ok(_) => Err(Unmoved::Broken("its head does not move")),
        Err(error) => Err(Unmoved::Database(error)),
    }
}
