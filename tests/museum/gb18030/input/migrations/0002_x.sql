select 'ÃûÇ°';
