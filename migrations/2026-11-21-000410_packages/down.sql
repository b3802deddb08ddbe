DROP TABLE definition_package;
