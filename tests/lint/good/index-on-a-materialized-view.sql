create index totals_total on app.totals (total);
