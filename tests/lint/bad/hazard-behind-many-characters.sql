comment on table app.log is 'Größe, 日本語, 🐘'; create index log_line on app.log (line); --! require-concurrent-index-creation
