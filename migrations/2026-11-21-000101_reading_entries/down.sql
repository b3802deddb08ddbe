DROP INDEX ledger_entry_by_patient;
DROP INDEX ledger_entry_by_tenant;
