"""The server: start, connect, lock, history, run, reset, whole databases."""
