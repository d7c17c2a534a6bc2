insert into app.t select max(id) + 1 from app.t;
