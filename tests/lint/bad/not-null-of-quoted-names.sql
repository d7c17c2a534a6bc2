alter table app."Mixed Case" alter "Größe" set not null; --! adding-not-nullable-field
