"""Clusters of their own, for what a test must not do to the private server: stop, fill, follow."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from headwater.model import Target
from headwater.postgres.connect import target_of
from headwater.postgres.installation import (
    Account,
    Installation,
    installation,
    server_account,
)
from headwater.settings import DatabaseChoice

# Small and without a thought for the data; five connections beside those of superusers.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    # It would come at any moment, and write where a test has filled the disk.
    "autovacuum": "off",
    "shared_buffers": "16MB",
    "max_connections": "8",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
    "jit": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One cluster in a folder of its own; everybody on this machine may enter it as anybody."""

    folder: Path
    port: int
    programs: Installation
    account: Account

    @property
    def data(self) -> Path:
        """Give the folder of its data."""
        return self.folder / "data"

    def target(self, database: str = "postgres", user: str = "postgres", **more: str) -> Target:
        """Give one of its databases as a target that a user has named."""
        keywords = {"host": "127.0.0.1", "port": str(self.port), "dbname": database, "user": user}
        return target_of(DatabaseChoice(source="DATABASE_URL", keywords=keywords | more))

    def start(self, *options: str, wait: bool = True) -> None:
        """Start it; `options` are of `postgres`, such as `-c hot_standby=off`."""
        log = self.folder / "server.log"
        self.run(
            *("pg_ctl", "start", "--wait" if wait else "--no-wait", "--silent"),
            *(f"--pgdata={self.data}", f"--log={log}"),
            f"--options={' '.join((f'-p {self.port}', *options))}",
        )

    def stop(self, mode: str = "immediate", *, wait: bool = True) -> None:
        """Stop it, if it runs."""
        running = self.data / "postmaster.pid"
        try:
            if running.exists():
                waiting = "--wait" if wait else "--no-wait"
                self.run(
                    *("pg_ctl", "stop", waiting, "--silent"),
                    *(f"--mode={mode}", f"--pgdata={self.data}"),
                )
        except AssertionError:
            if running.exists():  # else it ended meanwhile
                raise

    def run(self, program: str, *arguments: str) -> None:
        """Run one of its programs as the account of its server; it must succeed."""
        done = self.account.run(
            [self.programs.program(program), *arguments], environment=self.programs.environment
        )
        assert done.returncode == 0, f"{program}: {done.stdout}"

    def sql(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each by itself."""
        with psycopg.connect(self.target(database).conninfo, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def configure(self, **settings: str) -> None:
        """Write settings behind those that it has; they count from the next start on."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def write(self, name: str, text: str = "") -> None:
        """Write a file of its data, readable by its account alone."""
        path = self.data / name
        path.write_text(text)
        path.chmod(0o600)
        if self.account.switch:
            os.chown(path, self.account.uid, self.account.gid)


@contextmanager
def _place() -> Generator[Cluster]:
    """Give a place for a cluster, and remove what was made there, running or not."""
    # Not pytest's tmp_path: the server of root runs as nobody, who may not pass through that.
    folder = Path(tempfile.mkdtemp(prefix="headwater-cluster-"))
    folder.chmod(0o755)
    account = server_account()
    if account.switch:
        os.chown(folder, account.uid, account.gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = Cluster(folder=folder, port=port, programs=installation(), account=account)
    try:
        yield place
    finally:
        place.stop()
        shutil.rmtree(folder)


@contextmanager
def cluster(settings: Mapping[str, str] | None = None) -> Generator[Cluster]:
    """Make a cluster, started; stop and remove it afterwards."""
    with _place() as place:
        chosen = _SETTINGS | dict(settings or {})
        place.run(
            *("initdb", f"--pgdata={place.data}", "--username=postgres", "--auth=trust"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            *(f"--set={name}={value}" for name, value in chosen.items()),
        )
        place.start()
        yield place


@contextmanager
def standby(primary: Cluster) -> Generator[Cluster]:
    """Make a standby that follows a cluster, not started."""
    with _place() as place:
        place.run(
            "pg_basebackup",
            *(f"--pgdata={place.data}", "--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
            f"--dbname=host=127.0.0.1 port={primary.port} user=postgres",
        )
        yield place


def certificate(place: Cluster) -> None:
    """Give a cluster a certificate that it has signed itself; it counts from the next start on."""
    name = f"certificate-{secrets.token_hex(4)}"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=headwater.test", "-keyout", place.folder / f"{name}.key"),
            *("-out", place.folder / f"{name}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    place.write("server.key", (place.folder / f"{name}.key").read_text())
    place.write("server.crt", (place.folder / f"{name}.crt").read_text())
