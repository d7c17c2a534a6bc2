alter table app.products drop column details; --! ban-drop-column
grant select on app.products to public; --! grant-to-public
