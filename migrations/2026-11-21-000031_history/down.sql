DROP INDEX record_version_by_update;
