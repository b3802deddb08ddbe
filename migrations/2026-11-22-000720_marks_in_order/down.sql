DROP INDEX search_mark_by_update;
DROP INDEX search_mark_by_mark;
TRUNCATE search_mark;
DELETE FROM search_list;
ALTER TABLE search_mark ALTER COLUMN marks TYPE bigint[];
ALTER TABLE search_mark ALTER COLUMN marks SET STORAGE MAIN, ALTER COLUMN marks SET STATISTICS 0;
CREATE INDEX search_mark_by_mark ON search_mark USING gin (marks) WITH (gin_pending_list_limit = 256);
