-- The search parameters a tenant adds: which are in force, and how far a reindex has come (compliance/decisions/0026). The
-- definitions are sealed. `generation` rises with each change; what was marked by an earlier one is not committed.
-- `stage`: 0 standing, 1 taking in what `other` holds, 2 taking the marks of what `other` holds away. A tenant without any
-- has no row. Nothing contracts this step.
CREATE TABLE search_index (
    tenant     integer PRIMARY KEY,
    generation bigint NOT NULL CHECK (generation > 0),
    changed    timestamptz NOT NULL,
    added        sealed NOT NULL,
    stage      smallint NOT NULL CHECK (stage BETWEEN 0 AND 2),
    other      sealed NOT NULL,
    -- By which list the records before the place were gone over.
    list       bytea NOT NULL CHECK (octet_length(list) = 32),
    after_type smallint NOT NULL,
    after_key  uuid NOT NULL,
    passed     bigint NOT NULL,
    total      bigint NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON search_index TO custodia_server;
