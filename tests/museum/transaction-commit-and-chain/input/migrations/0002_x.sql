create table app.a (); commit and chain;
