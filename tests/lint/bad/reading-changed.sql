-- headwater: no-transaction
set standard_conforming_strings = off; --! reading-changed
vacuum app.log;
