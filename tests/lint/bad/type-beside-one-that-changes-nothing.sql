alter table app."Mixed Case"
    alter column "select" type varchar(80), -- nothing is to be done for it
    alter column "Order No" type bigint; --! changing-column-type
