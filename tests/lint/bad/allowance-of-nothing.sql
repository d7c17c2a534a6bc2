-- headwater: allow ban-drop-table because nobody used it --! unused-allow
comment on table app.log is 'No longer used.';
