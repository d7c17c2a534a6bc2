create table app.{{ name }} ();
