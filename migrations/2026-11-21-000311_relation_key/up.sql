-- The index of the step before becomes the primary key. The release before writes without naming a key and goes on as
-- it did.
ALTER TABLE relation DROP CONSTRAINT relation_pkey,
    ADD CONSTRAINT relation_pkey PRIMARY KEY USING INDEX relation_period;
