drop domain app.label cascade; --! drop-cascade, cascade, lock-elsewhere
