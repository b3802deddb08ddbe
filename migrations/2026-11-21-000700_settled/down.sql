ALTER TABLE ledger_head DROP COLUMN settled;
