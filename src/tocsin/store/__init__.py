"""The only folder with SQL: the schema, its migrations, the plain verbs, and each database's hot statements."""
