delete from app.t;
