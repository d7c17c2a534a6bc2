drop role if exists headwater_corpus;
create role headwater_corpus login password 'canary'; --! password-literal
drop role headwater_corpus;
