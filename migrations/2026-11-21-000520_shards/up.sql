-- Logs that are written side by side. A head says how many there are, so that no server writes as if there were fewer; a
-- version says in which of them the entry is that recorded it. What was written before is in the log with the number 0,
-- unless the server was told another: no release had a way to say so.
ALTER TABLE ledger_head ADD COLUMN shards smallint NOT NULL DEFAULT 1;
ALTER TABLE record ADD COLUMN shard smallint NOT NULL DEFAULT 0;
ALTER TABLE record_version ADD COLUMN shard smallint NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION refuse_shrinking() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.size < OLD.size OR NEW.origin <> OLD.origin OR NEW.shard <> OLD.shard OR NEW.shards < OLD.shards THEN
        RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
