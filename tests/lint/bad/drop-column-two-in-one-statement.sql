ALTER TABLE app.products
    DROP COLUMN weight, --! ban-drop-column
    DROP COLUMN IF EXISTS details; --! ban-drop-column
