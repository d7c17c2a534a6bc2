drop table app.tickets; --! ban-drop-table
