# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of this directory share: a server whose smbd may be killed
and started again, and a client that comes back."""

import fcntl
import os
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'samba'))

import durable  # noqa: E402
import rig  # noqa: E402

CA_GLOBALS = ['persistent handles = yes']
# What smbd asks of a share with durable handles, which no file system but
# itself may lock.
DURABLE_OPTIONS = ['kernel oplocks=no', 'kernel share modes=no',
                   'posix locking=no']

# _IOR('U', 0xD3, struct udfd_defect_management) of include/udfd_ioctl.h
GET_DEFECT_MANAGEMENT = (2 << 30) | (16 << 16) | (ord('U') << 8) | 0xD3


def has_persistent_handles():
    """Is the Samba of this run one with persistent handles (4.25)?"""
    words = [os.path.join(rig.RIGS, 'in-root'), os.environ['SAMBA_ROOT']] \
        if os.environ.get('SAMBA_ROOT') else []
    done = subprocess.run([*words, 'testparm', '-s', '--parameter-name',
                           'persistent handles', '/dev/null'],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    return done.stdout.strip().splitlines()[-1:] in (['No'], ['Yes'])


def defect_disabled(path):
    """Is defect management off for a file of a udfd mount?"""
    with open(path, 'rb') as file:
        answer = fcntl.ioctl(file, GET_DEFECT_MANAGEMENT, bytes(16))
    return struct.unpack('<4I', answer)[2] != 0


class Place(rig.Rig):
    """A volume and a server that shares it as "udf", continuously available
    if that is to be, and as "durable", never so."""

    def __init__(self, persistent):
        super().__init__()
        self.persistent = persistent

    def __enter__(self):
        super().__enter__()
        self.volume = self.image()
        self.mounted = self.mount(self.volume)
        self.home = self.path('smbd')
        self.port = None
        self.callback(self._command, 'stop', self.home, check=False)
        return self

    def _command(self, *words, check=True):
        subprocess.run([os.path.join(rig.RIGS, 'server'), *words],
                       stdout=subprocess.DEVNULL,
                       stderr=None if check else subprocess.DEVNULL,
                       check=check)

    def start(self, *settings):
        """Start smbd, again with what it left behind."""
        words = ['start', self.home]
        for share in ('udf', 'durable'):
            words += ['--share', f'{share}={self.mounted}',
                      '--option', self.with_module(share)]
            for option in DURABLE_OPTIONS:
                words += ['--option', f'{share}:{option}']
        if self.persistent:
            words += ['--option', 'udf:continuous availability=yes']
            settings = [*CA_GLOBALS, *settings]
        for setting in settings:
            words += ['--global', setting]
        if self.port:
            words += ['--port', str(self.port)]
        self._command(*words)
        server = rig.read_server(self.home)
        self.port = server.port
        return server

    def stop(self):
        self._command('stop', self.home)

    def _end_udfd(self):
        """Not by umount alone: a mount lives on in the mount namespaces that
        other tests have made meanwhile."""
        for name in os.listdir('/proc'):
            try:
                with open(f'/proc/{name}/cmdline', 'rb') as file:
                    words = file.read().split(b'\0')
            except OSError:
                continue
            if rig.UDFD.encode() in words and self.volume.encode() in words:
                os.kill(int(name), signal.SIGTERM)
                rig.wait_until(lambda: not os.path.exists(f'/proc/{name}'))
        self._unmount(self.mounted)

    def mount_again(self):
        """The volume at the same place, under another device number: True if
        it is another."""
        before = os.stat(self.mounted).st_dev
        for _ in range(5):
            self._end_udfd()
            # The number that is free now goes to somebody else.
            self.mount(self.image())
            rig.run(rig.UDFD, '-o', 'allow_other', self.volume, self.mounted)
            if os.stat(self.mounted).st_dev != before:
                return True
        return False

    def file(self, name):
        return os.path.join(self.mounted, name)

    def fill(self, name, data=b'x' * 10000):
        with open(self.file(name), 'wb') as file:
            file.write(data)
        os.chmod(self.file(name), 0o666)


def smbd_of(server, connection):
    """The smbd of a client's connection."""
    port = connection.session.get_socket().getsockname()[1]
    done = subprocess.run(
        ['ss', '-Htnp', 'state', 'established',
         f'( src {server.host}:{server.port} and dport = :{port} )'],
        stdout=subprocess.PIPE, text=True, check=True)
    for word in done.stdout.replace(',', ' ').split():
        if word.startswith('pid='):
            return int(word[4:])
    raise RuntimeError(f'no smbd has the connection:\n{done.stdout}')


def kill_and_wait(pid):
    """SIGKILL, and wait until the process is gone and reaped."""
    os.kill(pid, signal.SIGKILL)
    rig.wait_until(lambda: not os.path.exists(f'/proc/{pid}'))


def reclaim(client, server, handle, seconds=10):
    """Connect again and reclaim, for as long as a server may need."""
    end = time.monotonic() + seconds
    while True:
        try:
            fresh = client.again(server)
            fresh.sequence += 1
            return fresh, fresh.reclaim(handle)
        except (durable.smb_client.Refused, *durable.LOST):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def take_all(handle):
    """Send DISABLED until it is refused: the count there was."""
    count = 0
    while handle.purge(durable.smb_client.DISABLED) == \
            durable.smb_client.SUCCESS:
        count += 1
    return count
