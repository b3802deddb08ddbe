-- Blind marks: what finds a record without a patient being named. Each is 64 bits of HMAC under a key of the tenant over
-- parameter and value, for the parameters the configuration lists (compliance/decisions/0021). A record without any has
-- no row here. No statistics are kept: they would hold the commonest marks.
CREATE TABLE search_mark (
    tenant integer NOT NULL,
    type   smallint NOT NULL,
    key    uuid NOT NULL,
    marks  bigint[] NOT NULL,
    PRIMARY KEY (tenant, type, key)
);
ALTER TABLE search_mark ALTER COLUMN marks SET STATISTICS 0;
CREATE INDEX search_mark_by_mark ON search_mark USING gin (marks);
-- By which list a tenant's marks were made: 32 bytes of SHA-256. A server with another list makes them anew.
CREATE TABLE search_list (
    tenant integer PRIMARY KEY,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON search_mark TO custodia_server;
GRANT SELECT, INSERT, UPDATE ON search_list TO custodia_server;
