//! SQL with typed parameters, prepared once per connection.
//!
//! Set-wise statements (`unnest` of arrays) keep one text whatever the number of rows, so that a batch of five
//! hundred costs one prepared execution. Diesel's builder makes a text per row count; hence this fragment.
//! Values only ever travel as binds.

use std::marker::PhantomData;

use diesel::{
    deserialize::{self, FromSql},
    expression::AsExpression,
    pg::{Pg, PgValue},
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    serialize::{self, IsNull, Output, ToSql},
    sql_types::{HasSqlType, SqlType, Untyped},
};

use crate::seal::Sealed;

/// The SQL type of a sealed column: the domain `sealed`. Only [`Sealed`] binds to it.
///
/// ```compile_fail,E0277
/// use custodia::store::statement::{SealedSql, Statement};
/// // Bytes that never went through the seal cannot be bound.
/// let _ = Statement::new("UPDATE record SET body = ?").bind::<SealedSql, _>(vec![1_u8, 2, 3]);
/// ```
#[derive(Clone, Copy, Debug, SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(name = "sealed"))]
pub struct SealedSql;

impl ToSql<SealedSql, Pg> for Sealed {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        std::io::Write::write_all(out, self.as_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<SealedSql, Pg> for Sealed {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self::from_stored(value.as_bytes().to_vec())?)
    }
}

impl diesel::Queryable<SealedSql, Pg> for Sealed {
    type Row = Self;
    fn build(row: Self) -> deserialize::Result<Self> {
        Ok(row)
    }
}

/// A text of constant pieces with `?` where its parameters go.
#[must_use]
pub struct Statement {
    pieces: Vec<&'static str>,
    binds: Vec<Box<dyn Bind>>,
}

/// A parameter with its SQL type.
trait Bind: Send + Sync {
    fn push<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

struct Typed<S, T>(T, PhantomData<fn() -> S>);

impl<S, T> Bind for Typed<S, T>
where
    Pg: HasSqlType<S>,
    T: ToSql<S, Pg> + Send + Sync,
{
    fn push<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_bind_param::<S, T>(&self.0)
    }
}

impl Statement {
    /// A statement whose text never changes.
    pub fn new(text: &'static str) -> Self {
        Self { pieces: vec![text], binds: Vec::new() }
    }

    /// Goes on with another constant piece.
    pub fn then(mut self, piece: &'static str) -> Self {
        self.pieces.push(piece);
        self
    }

    /// Gives the next `?` its value.
    pub fn bind<S, T>(mut self, value: T) -> Self
    where
        Pg: HasSqlType<S>,
        S: 'static,
        T: ToSql<S, Pg> + Send + Sync + 'static,
    {
        self.binds.push(Box::new(Typed::<S, T>(value, PhantomData)));
        self
    }
}

impl QueryFragment<Pg> for Statement {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut binds = self.binds.iter();
        for text in &self.pieces {
            for (index, piece) in text.split('?').enumerate() {
                if index > 0 {
                    let bind = binds.next().ok_or_else(|| {
                        diesel::result::Error::QueryBuilderError(
                            "a statement has more places than values".into(),
                        )
                    })?;
                    bind.push(&mut pass)?;
                }
                pass.push_sql(piece);
            }
        }
        Ok(())
    }
}

impl QueryId for Statement {
    type QueryId = ();
    // The text is the key in the statement cache.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement {
    type SqlType = Untyped;
}

/// Only to satisfy Diesel's bounds on expressions of the sealed type.
impl AsExpression<SealedSql> for Sealed {
    type Expression = diesel::internal::derives::as_expression::Bound<SealedSql, Self>;
    fn as_expression(self) -> Self::Expression {
        Self::Expression::new(self)
    }
}
