create index totals_total on app.totals (total); --! require-concurrent-index-creation
