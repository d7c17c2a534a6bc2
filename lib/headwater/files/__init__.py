"""The folder of migrations: reading, checking and writing files. Never needs a server."""
