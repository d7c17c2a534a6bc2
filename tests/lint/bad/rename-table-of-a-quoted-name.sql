alter table if exists app."Mixed Case" --! renaming-table
    rename to mixed_case;
