"""The catalogue of a database as data: read it (`snapshot`), compare two of them (`diff`)."""
