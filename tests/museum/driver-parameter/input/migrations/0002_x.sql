insert into app.t values (%s);
