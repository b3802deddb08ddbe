-- The key of before holds one span for each relationship of a record: the others go.
DELETE FROM relation a USING relation b
WHERE (a.tenant, a.patient, a.actor, a.kind, a.source_type, a.source_key)
    = (b.tenant, b.patient, b.actor, b.kind, b.source_type, b.source_key)
  AND (a.since, a.until) < (b.since, b.until);
ALTER TABLE relation DROP CONSTRAINT relation_pkey,
    ADD CONSTRAINT relation_pkey PRIMARY KEY (tenant, patient, actor, kind, source_type, source_key);
