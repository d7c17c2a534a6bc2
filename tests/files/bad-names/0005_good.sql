create table g ();
