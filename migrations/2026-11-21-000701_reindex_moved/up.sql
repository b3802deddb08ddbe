-- When a reindex last moved: a server whose list differs begins it anew only if nobody is at it.
ALTER TABLE search_index ADD COLUMN moved timestamptz NOT NULL DEFAULT now();
