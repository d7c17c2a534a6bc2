"""For the tests of a project: databases, rows, and the application's rights."""
