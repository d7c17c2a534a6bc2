drop sequence app.tickets_id_seq cascade; --! drop-cascade, lock-elsewhere
