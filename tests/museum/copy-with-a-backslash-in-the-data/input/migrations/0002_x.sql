select 1; copy app.t from stdin;
\\x5c2e
\.
