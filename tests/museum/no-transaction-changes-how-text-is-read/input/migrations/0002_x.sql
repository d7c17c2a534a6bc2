-- headwater: no-transaction
set standard_conforming_strings = off;
select 'a\', '; drop table app.t; --';
