COPY app.log TO STDOUT; --! copy-stdout
