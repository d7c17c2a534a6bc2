copy app.t from stdin (format binary);
