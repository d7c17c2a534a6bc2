create table app.a ();
  end
 transaction;
