-- Up to which instant what was written is settled: whoever asked what is new up to then saw all of it, and nothing that is
-- committed later is dated before it.
ALTER TABLE ledger_head ADD COLUMN settled timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00Z';
