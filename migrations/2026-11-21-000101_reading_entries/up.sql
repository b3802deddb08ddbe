-- For reading the log: of one tenant, newest first, and of one patient (her report of disclosures). Nothing contracts
-- it. No release has a log without these indexes, so they are built in the step's own transaction.
CREATE INDEX ledger_entry_by_tenant ON ledger_entry (tenant, shard, index);
CREATE INDEX ledger_entry_by_patient ON ledger_entry (tenant, patient, shard, index) WHERE patient IS NOT NULL;
