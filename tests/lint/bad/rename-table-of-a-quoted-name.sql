alter table if exists app."Mixed Case"
    rename to mixed_case; --! renaming-table
