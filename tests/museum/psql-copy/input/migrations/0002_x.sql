\copy app.t from 'rows.csv'
