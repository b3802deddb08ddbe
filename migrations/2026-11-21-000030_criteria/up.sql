-- Counters that conditional requests stand on: `bucket` is 16 bits of an HMAC over type and criteria, so a row tells
-- that something of the kind was asked and not what. At most 65,536 rows a tenant.
CREATE TABLE criterion (
    tenant integer NOT NULL,
    bucket integer NOT NULL,
    moves  bigint NOT NULL,
    PRIMARY KEY (tenant, bucket)
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE ON criterion TO custodia_server;
