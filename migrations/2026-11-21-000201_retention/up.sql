-- Retention: after its time an entry's body becomes unreadable, because the audit key of its month is destroyed. The tree
-- keeps every commitment, so that every proof still verifies. Nothing contracts this step.
CREATE TABLE legal_hold (
    tenant integer NOT NULL,
    placed timestamptz NOT NULL,
    lifted timestamptz,
    PRIMARY KEY (tenant, placed)
);
CREATE UNIQUE INDEX legal_hold_in_force ON legal_hold (tenant) WHERE lifted IS NULL;
GRANT SELECT, INSERT ON legal_hold TO custodia_server;
GRANT UPDATE (lifted) ON legal_hold TO custodia_server;

-- The months whose keys may be destroyed: before `before`, and never one of the last six years, whatever the server
-- asks for. A month is year * 12 + month - 1.
CREATE FUNCTION spent_audit_keys(before integer) RETURNS TABLE (tenant integer, month integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT k.tenant, k.month FROM audit_key k
    WHERE k.month < least(before, (extract(year FROM now()) * 12 + extract(month FROM now()) - 1)::integer - 72)
      AND NOT EXISTS (SELECT FROM legal_hold h WHERE h.tenant = k.tenant AND h.lifted IS NULL)
$$;
-- The server's role has no DELETE on audit_key: this is its only way, and it goes no further.
CREATE FUNCTION destroy_audit_keys(before integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH gone AS (
        DELETE FROM audit_key k USING spent_audit_keys(before) s
        WHERE k.tenant = s.tenant AND k.month = s.month RETURNING 1)
    SELECT count(*) FROM gone
$$;
REVOKE ALL ON FUNCTION spent_audit_keys, destroy_audit_keys FROM PUBLIC;
GRANT EXECUTE ON FUNCTION spent_audit_keys, destroy_audit_keys TO custodia_server;
