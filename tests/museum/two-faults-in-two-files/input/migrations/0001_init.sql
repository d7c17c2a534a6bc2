select 'é';
