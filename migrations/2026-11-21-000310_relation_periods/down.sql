DROP INDEX IF EXISTS relation_period;
