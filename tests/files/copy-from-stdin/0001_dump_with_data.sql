-- museum item 6: quotes in the data made another tool skip thousands of lines.
create table public.notes (id integer, note text);

COPY public.notes (id, note) FROM stdin;
1	it's; a note
2	\N
\.

create table public.last ();
