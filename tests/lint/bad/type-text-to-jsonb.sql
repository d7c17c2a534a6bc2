alter table app.products alter column details type jsonb using details::jsonb; --! changing-column-type
