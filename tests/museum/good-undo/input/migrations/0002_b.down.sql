-- the table was empty
drop table app.b -- no semicolon