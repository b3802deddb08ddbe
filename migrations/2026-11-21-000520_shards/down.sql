CREATE OR REPLACE FUNCTION refuse_shrinking() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.size < OLD.size OR NEW.origin <> OLD.origin OR NEW.shard <> OLD.shard THEN
        RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
ALTER TABLE record_version DROP COLUMN shard;
ALTER TABLE record DROP COLUMN shard;
ALTER TABLE ledger_head DROP COLUMN shards;
