"""What is proved and measured: verify and lint."""
