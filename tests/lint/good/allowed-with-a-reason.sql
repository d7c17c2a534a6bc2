-- headwater: allow ban-drop-column because no release since May reads it
alter table app.products drop column details;

-- headwater: allow ban-drop-view because its last reader was switched off in June
drop view app.order_list;
