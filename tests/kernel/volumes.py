# SPDX-License-Identifier: GPL-3.0-or-later
"""UDF volumes that udfd and the Linux kernel's driver use in turns."""

import collections
import fcntl
import os
import re
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'samba'))
import rig  # noqa: E402  (TAP and the rig's paths are there)

UML = os.path.join(rig.RIGS, 'uml')
TREE = os.path.join(rig.RIGS, 'tree')
FAULTDISK = os.path.join(rig.BUILD, 'tests', 'rigs', 'faultdisk')
SECONDS = 120

# include/udfd_ioctl.h
IOC_SPARING_INFO = 2 << 30 | 32 << 16 | ord('U') << 8 | 0xD1

Format = collections.namedtuple('Format', 'revision block media spartable')
Outcome = collections.namedtuple('Outcome', 'status output')
Space = collections.namedtuple('Space', 'block total free')
Sparing = collections.namedtuple(
    'Sparing', 'magic version packet_bytes managed total free copies sequence')

FORMATS = [
    Format('1.50', 512, 'hd', False),
    Format('1.50', 2048, 'hd', False),
    Format('1.50', 512, 'hd', True),
    Format('1.50', 2048, 'cdrw', False),
    Format('2.01', 512, 'hd', False),
    Format('2.01', 2048, 'hd', False),
    Format('2.01', 512, 'hd', True),
    Format('2.01', 2048, 'dvdrw', False),
]


def describe(form):
    sparable = form.spartable or form.media != 'hd'
    return (f'{form.revision}, {form.block}, {form.media}'
            f'{", sparable" if sparable else ""}')


def make_image(path, form, megabytes=64):
    with open(path, 'wb') as file:
        file.truncate(megabytes << 20)
    command = ['mkudffs', f'--media-type={form.media}',
               f'--blocksize={form.block}', f'--udfrev={form.revision}']
    if form.spartable:
        command += ['--spartable=2', '--packetlen=32']
    rig.run(*command, path)


def command(*words, **options):
    """Run a command; its status and all it said."""
    done = subprocess.run(words, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True,
                          errors='replace', check=False, **options)
    return Outcome(done.returncode, done.stdout)


def skip_reason():
    """Why the kernel's driver cannot be used here; None if it can."""
    outcome = command(UML, '--check')
    return None if outcome.status == 0 else outcome.output


# What the driver says of files that it alone wrote, too (the change of round
# 1 of test_interchange's seed for 2.01, 512, hd, on a tree of its own).
OF_ITSELF = ('udf_truncate_tail_extent: Extent after EOF',)


class Kernel:
    """A guest run: what it did, said and logged."""

    def __init__(self, directory, image, block, script, *arguments,
                 options=()):
        log = os.path.join(directory, 'guest.dmesg')
        with open(log, 'w', encoding='utf-8'):
            pass
        self.status, self.output = command(
            UML, '--image', image, '--timeout', '150', '--dmesg', log,
            '--options', f'bs={block}', *options, '--',
            'sh', '-euc', script, 'sh', *arguments)
        with open(log, encoding='utf-8', errors='replace') as file:
            lines = file.read().splitlines()
        self.complaints = [line for line in lines
                           if 'UDF-fs' in line and 'INFO' not in line and
                           not any(text in line for text in OF_ITSELF)]
        found = re.search(r'^space (\d+) (\d+) (\d+)$', self.output, re.M)
        self.space = Space(*map(int, found.groups())) if found else None

    # For a script: prints what statfs says of the mount.
    SPACE = 'stat -f -c "space %S %b %f" "$MOUNT"\n'


class Udfd:
    """A udfd mount while the with statement lasts."""

    def __init__(self, image, mountpoint, *options):
        self.image = image
        self.mountpoint = mountpoint
        self.options = options
        self.process = None
        self.log = mountpoint + '.log'
        self.status = None

    def __enter__(self):
        os.makedirs(self.mountpoint, exist_ok=True)
        with open(self.log, 'w', encoding='utf-8') as log:
            self.process = subprocess.Popen(
                [rig.UDFD, '-f', *self.options, self.image, self.mountpoint],
                stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL)
        end = time.monotonic() + SECONDS
        while not os.path.ismount(self.mountpoint):
            if self.process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise RuntimeError(f'udfd does not mount: {self.said()}')
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        """Unmount, and wait until the volume is closed."""
        command('fusermount3', '-u', self.mountpoint)
        try:
            self.status = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.status = self.process.wait()
        if self.status != 0:
            command('umount', '-l', self.mountpoint)

    def said(self):
        with open(self.log, encoding='utf-8', errors='replace') as file:
            return file.read()

    def space(self):
        """What statfs says, once all that was deleted is free again."""
        fd = os.open(self.mountpoint, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        info = os.statvfs(self.mountpoint)
        return Space(info.f_frsize, info.f_blocks, info.f_bfree)

    def sparing(self):
        fd = os.open(self.mountpoint, os.O_RDONLY)
        try:
            reply = fcntl.ioctl(fd, IOC_SPARING_INFO, bytes(32))
        finally:
            os.close(fd)
        return Sparing(*struct.unpack('8I', reply))


class FaultDisk:
    """An image behind a disk with defects while the with statement lasts."""

    def __init__(self, image, mountpoint):
        self.image = image
        self.mountpoint = mountpoint
        self.disk = os.path.join(mountpoint, 'disk')
        self.process = None

    def __enter__(self):
        os.makedirs(self.mountpoint, exist_ok=True)
        self.process = subprocess.Popen(
            [FAULTDISK, '--foreground', self.image, self.mountpoint],
            stdin=subprocess.DEVNULL)
        if not rig.wait_until(lambda: os.path.exists(self.disk)):
            self.__exit__()
            raise RuntimeError('faultdisk does not mount')
        return self

    def __exit__(self, *_):
        command('fusermount3', '-u', self.mountpoint)
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.returncode != 0:
            command('umount', '-l', self.mountpoint)

    def control(self, *lines):
        path = os.path.join(self.mountpoint, 'control')
        with open(path, 'w', encoding='ascii') as file:
            file.write(''.join(f'{line}\n' for line in lines))

    def hits(self, kind):
        path = os.path.join(self.mountpoint, 'control')
        with open(path, encoding='ascii') as file:
            found = re.search(rf'^total {kind} hits (\d+)$', file.read(), re.M)
        return int(found.group(1))


def is_closed(image):
    """What udftools says of the Logical Volume Integrity Descriptor."""
    outcome = command('udfinfo', image)
    return 'integrity=closed' in outcome.output, outcome.output
