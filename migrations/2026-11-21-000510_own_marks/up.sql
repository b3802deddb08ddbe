-- Marks under a patient's own key, beside the record they are of: what narrows a search that names her
-- (compliance/decisions/0027). [1] says by which list they were made, [2] of which version (modulo 32,768): a row that
-- a server of the release before has written anew keeps stale ones, which then count for nothing. NULL is as good as none.
-- Both tables, because current rows are moved whole. No statistics are kept: they would hold the commonest marks.
ALTER TABLE record ADD COLUMN own_marks smallint[];
ALTER TABLE record_version ADD COLUMN own_marks smallint[];
ALTER TABLE record ALTER COLUMN own_marks SET STATISTICS 0;
ALTER TABLE record_version ALTER COLUMN own_marks SET STATISTICS 0;
