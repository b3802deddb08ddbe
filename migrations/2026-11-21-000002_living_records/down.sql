DROP INDEX record_by_owner;
DROP INDEX record_by_update;
CREATE INDEX record_by_owner ON record (tenant, owner, type, updated, key);
CREATE INDEX record_by_update ON record (tenant, type, updated, key);
