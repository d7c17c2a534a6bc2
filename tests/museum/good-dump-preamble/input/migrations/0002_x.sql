create table leaves_no_trace (s text, l text);
insert into leaves_no_trace values (current_setting('search_path'), current_setting('lock_timeout'));
