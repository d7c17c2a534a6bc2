alter domain app.spare_label add constraint spare_known check (value <> '') not valid;
alter domain app.spare_label validate constraint spare_known;
