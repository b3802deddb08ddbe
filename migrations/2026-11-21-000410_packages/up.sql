-- FHIR packages: what resources are judged by beyond R4. They are published and about nobody, so they are not sealed; `proof` is
-- an HMAC under the house's key, so that a row slipped in counts for nothing. They are the
-- house's, so the key has no tenant. Nothing contracts this step.
CREATE TABLE definition_package (
    name text PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 128),
    version text NOT NULL CHECK (octet_length(version) BETWEEN 1 AND 128),
    added timestamptz NOT NULL,
    kept bytea NOT NULL CHECK (octet_length(kept) <= 16777216),
    proof bytea NOT NULL CHECK (octet_length(proof) = 16)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON definition_package TO custodia_server;
