-- Marks stay in their row as long as it fits a page: a walk looks at each row's, and one that stands apart costs a look-up more.
-- What waits to be sorted into the index is read by every search: it is kept short. Rows written before stay as they are.
ALTER TABLE search_mark ALTER COLUMN marks SET STORAGE MAIN;
ALTER INDEX search_mark_by_mark SET (gin_pending_list_limit = 256);
-- When the record was last written: the newest of those that bear a mark are found without looking each of them up. No index
-- holds it, so that a version with the marks of the one before costs no index entry. No release has this table without it.
ALTER TABLE search_mark ADD COLUMN updated timestamptz;
UPDATE search_mark m SET updated = r.updated FROM record r WHERE r.tenant = m.tenant AND r.type = m.type AND r.key = m.key;
DELETE FROM search_mark WHERE updated IS NULL;
ALTER TABLE search_mark ALTER COLUMN updated SET NOT NULL;
