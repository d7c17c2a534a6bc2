rollback prepared 'x';
