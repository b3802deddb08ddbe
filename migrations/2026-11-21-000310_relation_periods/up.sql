-- One record may state a relationship for several spans of time: a row for each.
CREATE UNIQUE INDEX CONCURRENTLY relation_period ON relation
    (tenant, patient, actor, kind, source_type, source_key, since, until);
