select 1;
vacuum app.t;
