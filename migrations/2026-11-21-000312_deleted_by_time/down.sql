DROP INDEX IF EXISTS record_deleted_by_update;
