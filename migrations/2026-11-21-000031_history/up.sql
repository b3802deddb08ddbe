-- Histories of a type walk its earlier versions by time.
CREATE INDEX CONCURRENTLY record_version_by_update ON record_version (tenant, type, updated, key, version);
