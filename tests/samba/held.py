# SPDX-License-Identifier: GPL-3.0-or-later
"""A WRITE that is held: who has the bracket, who writes, who has mapped."""

import contextlib
import os

import rig
import client as smb
from client import Client
from mapping import Mapping

SIZE = 65536


def hexadecimal(header):
    return 'no answer' if header is None else f'{header.status:08x}'


def content(path):
    with open(path, 'rb') as file:
        return file.read()


class Stage(contextlib.ExitStack):
    """A file with a bracket, mapped on the server, and a client that writes
    to it. Its user may be another than the scanner's."""

    def __init__(self, server, mount, share='udf', user=None):
        super().__init__()
        self.path = os.path.join(mount, 'held.dat')
        self.scanner = self.enter_context(Client(server, share))
        self.scanner.make('held.dat', b'h' * SIZE)
        os.chmod(self.path, 0o666)
        self.scan = self.scanner.open('held.dat', smb.READ_DATA)
        self.smbds = rig.children(server.pid)
        # What it sends is read as bytes: no encryption, so no SMB3.
        self.writer = self.enter_context(
            Client(user or server, share, '2.1'))
        self.smbd = next(iter(rig.children(server.pid) - self.smbds), None)
        self.file = self.writer.open('held.dat',
                                     smb.READ_DATA | smb.WRITE_DATA)
        self.scan.purge(smb.ENABLED)
        self.mapping = self.enter_context(Mapping(self.path))

    def hold(self, tap, what, offset=0):
        """A WRITE; the header of its interim response."""
        self.file.write_send(offset, b'W' * 100)
        interim = self.writer.receive_header()
        tap.equal(hexadecimal(interim), f'{smb.PENDING:08x}',
                  f'{what}: held')
        return interim

    def finish(self):
        self.mapping.__exit__()
        self.scan.close()
        self.scanner.remove('held.dat')
