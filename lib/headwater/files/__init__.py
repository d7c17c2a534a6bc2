"""The folder of migrations: reading, checking and writing files. Never needs a server."""

from typing import TYPE_CHECKING

from headwater.lazy import exporting

if TYPE_CHECKING:
    from headwater.files.git import new_since
    from headwater.files.hooks import install_hook, remove_hook
    from headwater.files.lockfile import write_lock
    from headwater.files.read import read_folder, read_sound_folder
    from headwater.files.redate import redate as redate_migration
    from headwater.files.scaffold import new_migration, write_dotenv
    from headwater.files.seeds import read_seeds

__all__ = [
    "install_hook",
    "new_migration",
    "new_since",
    "read_folder",
    "read_seeds",
    "read_sound_folder",
    "redate_migration",
    "remove_hook",
    "write_dotenv",
    "write_lock",
]

__getattr__ = exporting(
    __name__,
    install_hook="hooks",
    new_migration="scaffold",
    new_since="git",
    read_folder="read",
    read_seeds="seeds",
    read_sound_folder="read",
    redate_migration="redate.redate",
    remove_hook="hooks",
    write_dotenv="scaffold",
    write_lock="lockfile",
)
