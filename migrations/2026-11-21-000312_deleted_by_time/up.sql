-- Histories of a type walk its tombstones by time, as they walk its living records by record_by_update. Nothing else says
-- `deleted`, so no look-up by key can fall to it.
CREATE INDEX CONCURRENTLY record_deleted_by_update ON record (tenant, type, updated, key) WHERE deleted;
