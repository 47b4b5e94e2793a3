"""OpenSSH's sshd, as the user of the tests: logins by key, and a key of its own.

It runs without root, so it can check no password: that is what `password_server` is for, asyncssh's server.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
from tests.ports import free_port
from tests.servers.process import running

__all__ = ["PASSPHRASE", "PASSWORD", "Sshd", "password_server", "sshd"]

PASSPHRASE = "a phrase with ß and spaces"
PASSWORD = "a password with ß and spaces"


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running server. Its logins begin in `home`."""

    port: int
    home: Path
    user: str
    plain_key: str
    locked_key: str
    other_key: str
    "One that it does not let in."
    host_key: str
    fingerprint: str


@contextmanager
def sshd(directory: Path) -> Iterator[Sshd]:
    """sshd with two keys that may come in, one locked by PASSPHRASE."""
    home = directory / "home"
    home.mkdir()
    host, user, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(3))
    (directory / "host").write_bytes(host.export_private_key())
    (directory / "host").chmod(0o600)
    (directory / "authorized").write_bytes(user.export_public_key())
    (directory / "authorized").chmod(0o600)
    port = free_port()
    (directory / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {directory}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {directory}/authorized\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp -d {home}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it wants to lock its helper in
    command: list[str | Path] = ["/usr/sbin/sshd", "-D", "-e", "-f", directory / "sshd_config"]
    with running(command, port, directory / "sshd.log"):
        yield Sshd(
            port,
            home,
            getpass.getuser(),
            user.export_private_key().decode(),
            user.export_private_key(passphrase=PASSPHRASE, rounds=50).decode(),
            other.export_private_key().decode(),
            host.export_public_key().decode().strip(),
            host.get_fingerprint(),
        )


class _Passwords(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return username == "films" and password == PASSWORD


async def password_server(home: Path) -> asyncssh.SSHAcceptor:
    """A server on the running loop that lets `films` in with PASSWORD, below `home`."""

    def below(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=os.fsencode(home))

    return await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=_Passwords,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=below,
    )
