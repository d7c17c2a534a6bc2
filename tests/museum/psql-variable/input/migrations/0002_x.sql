create table app.:name ();
