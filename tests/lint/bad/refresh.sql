refresh materialized view app.totals; --! refresh-not-concurrent
