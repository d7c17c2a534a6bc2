alter table app."Mixed Case" drop column "Größe"; --! ban-drop-column
