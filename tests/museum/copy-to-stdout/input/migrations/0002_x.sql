copy app.t to stdout;
