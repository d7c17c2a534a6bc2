/*
 * Indexes on a large table.
 */
-- headwater: no-transaction
-- headwater: lock-timeout 5s

create index concurrently notes_a on notes (a);
drop index concurrently notes_b;
