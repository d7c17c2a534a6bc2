create table teams ();
