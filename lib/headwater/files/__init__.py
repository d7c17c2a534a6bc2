"""The folder of migrations: reading, checking and writing files. Never needs a server."""

from typing import TYPE_CHECKING

from headwater.lazy import exporting

if TYPE_CHECKING:
    from headwater.files.read import read_folder, read_sound_folder
    from headwater.files.scaffold import new_migration, write_dotenv

__all__ = ["new_migration", "read_folder", "read_sound_folder", "write_dotenv"]

__getattr__ = exporting(
    __name__,
    new_migration="scaffold",
    read_folder="read",
    read_sound_folder="read",
    write_dotenv="scaffold",
)
