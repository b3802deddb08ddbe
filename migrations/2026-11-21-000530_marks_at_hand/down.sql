ALTER TABLE search_mark DROP COLUMN updated;
ALTER INDEX search_mark_by_mark RESET (gin_pending_list_limit);
ALTER TABLE search_mark ALTER COLUMN marks SET STORAGE EXTENDED;
