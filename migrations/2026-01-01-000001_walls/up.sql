-- The walls: tenants and keys, records, relationships, accounts, and the ledger.
-- Every key starts with the tenant. What says who somebody is stands in a `sealed` column or not at all.

-- The only type of a column that holds plaintext's other half (src/seal/envelope.rs has the layout).
CREATE DOMAIN sealed AS bytea
    CHECK (octet_length(VALUE) >= 104 AND substring(VALUE FROM 1 FOR 3) = '\xc5d101'::bytea);

CREATE TABLE tenant (
    id      integer PRIMARY KEY,
    name    text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    epoch   integer NOT NULL,
    wrapped sealed NOT NULL,
    created timestamptz NOT NULL
);

-- Data keys, wrapped: a patient's under its tenant's key (`under` is nil), a shared one under each patient's.
CREATE TABLE data_key (
    tenant  integer NOT NULL,
    id      uuid NOT NULL,
    version smallint NOT NULL,
    under   uuid NOT NULL,
    wrapped sealed NOT NULL,
    created timestamptz NOT NULL,
    PRIMARY KEY (tenant, id, version, under)
);

-- Audit keys, one a month, wrapped under the tenant's key: destroying one makes its month's bodies noise.
CREATE TABLE audit_key (
    tenant  integer NOT NULL,
    month   integer NOT NULL,
    wrapped sealed NOT NULL,
    created timestamptz NOT NULL,
    PRIMARY KEY (tenant, month)
);

-- The current version of each record. `owner` is the id of the data key: a patient's opaque key, a shared
-- key's id, or nil for records about nobody. `entry` is the ledger index that recorded this version.
CREATE TABLE record (
    tenant        integer NOT NULL,
    type          smallint NOT NULL,
    deleted       boolean NOT NULL,
    version       integer NOT NULL,
    key           uuid NOT NULL,
    owner         uuid NOT NULL,
    updated       timestamptz NOT NULL,
    entry         bigint NOT NULL,
    owner_version smallint NOT NULL,
    body          sealed NOT NULL,
    PRIMARY KEY (tenant, type, key)
);
ALTER TABLE record ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX record_by_owner ON record (tenant, owner, type, updated, key);
CREATE INDEX record_by_update ON record (tenant, type, updated, key);

-- Earlier versions, moved here by the update that replaced them.
CREATE TABLE record_version (LIKE record, PRIMARY KEY (tenant, type, key, version));
ALTER TABLE record_version ALTER COLUMN body SET STORAGE EXTERNAL;

-- Which patients a record of several patients is about (opaque keys): a record of one has its `owner` only.
CREATE TABLE record_link (
    tenant integer NOT NULL,
    target uuid NOT NULL,
    type   smallint NOT NULL,
    key    uuid NOT NULL,
    PRIMARY KEY (tenant, target, type, key)
);
CREATE INDEX record_link_by_source ON record_link (tenant, type, key);

-- Relationships the policies ask for, stated by records; `proof` is an HMAC over the row.
CREATE TABLE relation (
    tenant      integer NOT NULL,
    patient     uuid NOT NULL,
    actor       uuid NOT NULL,
    kind        smallint NOT NULL,
    source_type smallint NOT NULL,
    source_key  uuid NOT NULL,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    proof       bytea NOT NULL,
    PRIMARY KEY (tenant, patient, actor, kind, source_type, source_key)
);
CREATE INDEX relation_by_source ON relation (tenant, source_type, source_key);

-- Users, services and partners; `key` is an HMAC of the name they are looked up by.
CREATE TABLE account (
    tenant  integer NOT NULL,
    id      uuid NOT NULL,
    version integer NOT NULL,
    updated timestamptz NOT NULL,
    body    sealed NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE TABLE account_name (
    key    uuid PRIMARY KEY,
    tenant integer NOT NULL,
    id     uuid NOT NULL,
    FOREIGN KEY (tenant, id) REFERENCES account
);

-- Client assertions that were used: each `jti` is good once (RFC 7523 §3).
CREATE TABLE assertion_seen (
    key     uuid PRIMARY KEY,
    expires timestamptz NOT NULL
);

-- The ledger: one head per shard, entries and full tiles for ever.
CREATE TABLE ledger_head (
    shard      smallint PRIMARY KEY,
    origin     text NOT NULL,
    size       bigint NOT NULL,
    root       bytea NOT NULL CHECK (octet_length(root) = 32),
    checkpoint text NOT NULL,
    updated    timestamptz NOT NULL
);
CREATE TABLE ledger_entry (
    shard   smallint NOT NULL,
    tenant  integer NOT NULL,
    index   bigint NOT NULL,
    month   integer NOT NULL,
    patient uuid,
    leaf    bytea NOT NULL,
    body    sealed,
    PRIMARY KEY (shard, index)
);
ALTER TABLE ledger_entry ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE ledger_tile (
    shard  smallint NOT NULL,
    level  smallint NOT NULL,
    index  bigint NOT NULL,
    hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    PRIMARY KEY (shard, level, index)
);
ALTER TABLE ledger_tile ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- Entries and tiles are never changed, not even by the owner of the tables.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_tile
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger_head
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- A head only ever grows.
CREATE FUNCTION refuse_shrinking() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.size < OLD.size OR NEW.origin <> OLD.origin OR NEW.shard <> OLD.shard THEN
        RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_grows BEFORE UPDATE ON ledger_head
    FOR EACH ROW EXECUTE FUNCTION refuse_shrinking();
-- Earlier versions are never changed; erasure destroys their keys instead.
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON record_version
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The server's role: it reads and appends, and cannot undo. Roles belong to the cluster, so another
-- database's migration may have made it already, or be making it now.
DO $$
BEGIN
    CREATE ROLE custodia_server NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO custodia_server;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO custodia_server;
GRANT INSERT ON tenant, data_key, audit_key, record, record_version, record_link, relation, account,
    account_name, assertion_seen, ledger_head, ledger_entry, ledger_tile TO custodia_server;
GRANT UPDATE ON record, account, ledger_head TO custodia_server;
GRANT DELETE ON record_link, relation, assertion_seen TO custodia_server;
