select 1;
set transaction_deferrable to on;
