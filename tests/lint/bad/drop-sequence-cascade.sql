drop sequence app.tickets_id_seq cascade; --! drop-cascade, cascade, lock-elsewhere
