-- The indexes that searches walk hold living records only, as searches say themselves (NOT deleted).
--
-- INVARIANT: no index on record but its primary key can serve a look-up by key. Without statistics, which a young database
-- does not have, PostgreSQL takes record_by_update for as good as the primary key where it may use it, and then
-- reads a type's whole index for one record (tests/promises/fhir/plans.rs).
DROP INDEX record_by_owner;
DROP INDEX record_by_update;
CREATE INDEX record_by_owner ON record (tenant, owner, type, updated, key) WHERE NOT deleted;
CREATE INDEX record_by_update ON record (tenant, type, updated, key) WHERE NOT deleted;
