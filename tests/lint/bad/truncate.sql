truncate app.log; --! truncate
