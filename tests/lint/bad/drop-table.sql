drop table app.log; --! ban-drop-table
