-- headwater: no-transaction
drop database if exists headwater_nobody; --! ban-drop-database
