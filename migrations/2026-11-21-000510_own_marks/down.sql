ALTER TABLE record_version DROP COLUMN own_marks;
ALTER TABLE record DROP COLUMN own_marks;
