DROP TABLE criterion;
