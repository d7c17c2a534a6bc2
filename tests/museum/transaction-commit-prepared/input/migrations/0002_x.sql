commit prepared 'x';
