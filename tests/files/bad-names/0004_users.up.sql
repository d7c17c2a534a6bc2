create table f ();
