drop domain app.label cascade; --! drop-cascade, lock-elsewhere
