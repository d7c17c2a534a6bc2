-- headwater: allow ban-drop-column because nobody used it --! unused-allow
drop table app.log; --! ban-drop-table
