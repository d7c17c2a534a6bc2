copy app.log from stdin; --! copy-stdin
1	2024-01-01	one
\.
