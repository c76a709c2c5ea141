# SPDX-License-Identifier: GPL-3.0-or-later
"""Images, mounts by udfd, and TAP, for the tests of the store."""

import collections
import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

import repartition

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.realpath(__file__))))
BUILD = os.path.abspath(os.environ.get('BUILD') or os.path.join(TOP, 'build'))
UDFD = os.path.join(BUILD, 'udf_store', 'udfd')
UDFCTL = os.path.join(BUILD, 'udf_store', 'udfctl')
FAULTDISK = os.path.join(BUILD, 'tests', 'rigs', 'faultdisk')
SECONDS = 30
# What an address sanitizer's exit is told apart by.
SANITIZER_EXIT = 99

Format = collections.namedtuple('Format', 'revision block media spartable')

FORMATS = [
    Format('1.50', 512, 'hd', False),
    Format('1.50', 2048, 'hd', False),
    Format('2.01', 512, 'hd', True),
    Format('2.01', 2048, 'hd', False),
    Format('1.50', 2048, 'cdrw', False),
    Format('2.01', 2048, 'dvdrw', False),
]


# With a metadata partition; 2.50 has the metadata twice, 2.60 once.
METADATA_FORMATS = [
    Format('2.50', 2048, 'hd', False),
    Format('2.60', 512, 'hd', False),
    Format('2.50', 2048, 'dvdrw', False),
]


def describe(form):
    return (f'{form.revision}, {form.block}, {form.media}'
            f'{", sparable" if form.spartable else ""}')


# TAP

def wait_until(condition):
    """Until that is so, or for SECONDS."""
    until = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def ok(self, good, name, *details):
        self.count += 1
        print(f'{"ok" if good else "not ok"} {self.count} - {name}',
              flush=True)
        if not good:
            self.failed += 1
            for detail in details:
                for line in str(detail).splitlines():
                    print(f'# {line}', flush=True)
        return bool(good)

    def same(self, got, expected, name):
        return self.ok(got == expected, name,
                       f'got      {got!r}', f'expected {expected!r}')

    def skip(self, name, reason):
        self.count += 1
        print(f'ok {self.count} - {name} # SKIP {reason}', flush=True)

    @contextlib.contextmanager
    def case(self, name):
        """One result: the body must not raise."""
        try:
            yield
        except Exception:  # pylint: disable=broad-except
            self.ok(False, name, traceback.format_exc())
        else:
            self.ok(True, name)

    def raises(self, number, name, function, *arguments):
        """The call fails with this errno."""
        try:
            function(*arguments)
        except OSError as error:
            return self.ok(error.errno == number, name,
                           f'got {error!r}, expected '
                           f'{os.strerror(number)}')
        return self.ok(False, name, 'it did not fail')

    def end(self):
        print(f'1..{self.count}', flush=True)
        sys.exit(1 if self.failed else 0)


def run_tests(main):
    """Call main(tap, scratch directory) and end."""
    tap = Tap()
    if not os.path.exists(UDFD):
        print(f'1..0 # SKIP {UDFD} is not built')
        sys.exit(0)
    # A test that is told to end cleans up as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scratch = tempfile.mkdtemp(prefix='udf-store-')
    try:
        main(tap, scratch)
    except Exception:  # pylint: disable=broad-except
        tap.ok(False, 'the test runs to its end', traceback.format_exc())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    tap.end()


# Images

def make_image(path, form, megabytes=32, spare=None, unit=32, whole=False):
    """A new volume. mkudffs makes none with a metadata partition: that is put
    into one of 2.01, with so many free blocks (by default an eighth) and this
    allocation unit. It grows, but does not become smaller again. whole: the
    metadata file is in one piece."""
    has_metadata = form.revision >= '2.50'
    revision = '2.01' if has_metadata else form.revision
    with open(path, 'wb') as file:
        file.truncate(megabytes << 20)
    # mkudffs takes its defaults from the first two options.
    command = ['mkudffs', f'--media-type={form.media}',
               f'--blocksize={form.block}', f'--udfrev={revision}']
    if form.spartable:
        command += ['--spartable=2', '--packetlen=32']
    subprocess.run(command + [path], check=True, capture_output=True)
    if has_metadata:
        if spare is None:
            spare = (megabytes << 20) // form.block // 8
        repartition.to_writable(path, path, form.block,
                                duplicate=form.revision == '2.50',
                                spare=spare, unit=unit,
                                revision=int(form.revision.replace('.', ''),
                                             16), whole=whole)
    return path


def udfinfo(path):
    """What an independent tool says of an image."""
    done = subprocess.run(['udfinfo', path], capture_output=True, text=True,
                          check=False)
    return dict(re.findall(r'^(\w+)=(.*)$', done.stdout, re.M))


# Mounts

class Mount:
    """udfd on an image; a context manager that unmounts."""

    def __init__(self, scratch, image, *options):
        self.image = image
        self.path = tempfile.mkdtemp(prefix='mount-', dir=scratch)
        self.log_path = self.path + '.log'
        self.process = None
        self.options = options

    def start(self):
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(
                [UDFD, '-f', *self.options, self.image, self.path],
                stdout=log, stderr=log)
        until = time.monotonic() + SECONDS
        while not os.path.ismount(self.path):
            if self.process.poll() is not None:
                raise RuntimeError(f'udfd ended: {self.log()}')
            if time.monotonic() > until:
                raise RuntimeError(f'udfd does not mount: {self.log()}')
            time.sleep(0.01)
        return self

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as file:
            return file.read()

    def wait(self):
        """
        udfd's exit status. A mount namespace that another program made in the
        meantime has a copy of the mount and keeps udfd up: SIGTERM closes the
        volume, too.
        """
        try:
            return self.process.wait(SECONDS / 2)
        except subprocess.TimeoutExpired:
            self.process.terminate()
        return self.process.wait(SECONDS)

    def unmount(self):
        """Unmount and wait until udfd closed the volume."""
        until = time.monotonic() + SECONDS
        # Any process of the machine that looks around makes it busy.
        while subprocess.run(['umount', self.path], check=False,
                             stderr=subprocess.DEVNULL).returncode != 0:
            if time.monotonic() > until:
                raise RuntimeError(f'{self.path} cannot be unmounted')
            time.sleep(0.1)
        return self.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()
        subprocess.run(['umount', '-l', self.path], check=False,
                       stderr=subprocess.DEVNULL)

    def file(self, *names):
        return os.path.join(self.path, *names)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            subprocess.run(['umount', '-l', self.path], check=False,
                           stderr=subprocess.DEVNULL)
            try:
                self.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        else:
            # It died: the mount point must not stay behind.
            subprocess.run(['umount', '-l', self.path], check=False,
                           stderr=subprocess.DEVNULL)
        os.rmdir(self.path)


def clean_cycle(tap, mount, name):
    """Unmount, and look whether the volume is closed and whole."""
    status = mount.unmount()
    tap.ok(status == 0, f'{name}: udfd ends well',
           f'exit status {status}', mount.log())
    info = udfinfo(mount.image)
    tap.same(info.get('integrity'), 'closed', f'{name}: the volume is closed')
    done = subprocess.run([UDFCTL, 'check', mount.image], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    tap.ok(done.returncode == 0, f'{name}: udfctl check finds no errors',
           done.stdout)
    return info


# The ioctls (include/udfd_ioctl.h)

MAGIC = 0x44464455
VERSION = 1


def _ior(number, size):
    return 2 << 30 | size << 16 | ord('U') << 8 | number


def _iow(number, size):
    return 1 << 30 | size << 16 | ord('U') << 8 | number


IOC_VOLUME_INFO = _ior(0xD0, 736)
IOC_SPARING_INFO = _ior(0xD1, 32)
IOC_FILE_ID = _ior(0xD2, 40)
IOC_GET_DEFECT_MANAGEMENT = _ior(0xD3, 16)
IOC_SET_DEFECT_MANAGEMENT = _iow(0xD4, 16)
IOC_DEFECT_INFO = _ior(0xD5, 104)
IOC_EXCHANGE_DEFECT_MANAGEMENT = 2 << 30 | _iow(0xDA, 16)

Sparing = collections.namedtuple(
    'Sparing', 'magic version packet_bytes managed total free copies sequence')
DefectInfo = collections.namedtuple(
    'DefectInfo', 'magic version verified suspects relocated unsaved retries '
    'unreadable lost limit used most failed bad_packets reserved')
FileId = collections.namedtuple(
    'FileId', 'magic version volume_id unique_id stream_id')


def ioctl(fd, command, size):
    buffer = bytearray(size)
    fcntl.ioctl(fd, command, buffer)
    return bytes(buffer)


def sparing(path):
    with open_any(path) as fd:
        return Sparing(*struct.unpack('=8I', ioctl(fd, IOC_SPARING_INFO, 32)))


def defect_info(path):
    with open_any(path) as fd:
        return DefectInfo(*struct.unpack(
            '=2I11Q2I', ioctl(fd, IOC_DEFECT_INFO, 104)))


def file_id(path):
    with open_any(path) as fd:
        return FileId(*struct.unpack('=II16sQQ', ioctl(fd, IOC_FILE_ID, 40)))


def get_management(fd):
    return struct.unpack('=4I', ioctl(fd, IOC_GET_DEFECT_MANAGEMENT, 16))[2]


def set_management(fd, disabled, magic=MAGIC, version=VERSION):
    fcntl.ioctl(fd, IOC_SET_DEFECT_MANAGEMENT,
                struct.pack('=4I', magic, version, disabled, 0))


def exchange_management(fd, disabled, magic=MAGIC, version=VERSION):
    """Set it, and return what it was."""
    buffer = bytearray(struct.pack('=4I', magic, version, disabled, 0))
    fcntl.ioctl(fd, IOC_EXCHANGE_DEFECT_MANAGEMENT, buffer)
    return struct.unpack('=4I', buffer)[2]


@contextlib.contextmanager
def open_any(path, flags=os.O_RDONLY):
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


# What Python does not have

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64,
                            ctypes.c_int64)


def fallocate(fd, mode, offset, length):
    if _libc.fallocate(fd, mode, offset, length) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_libc.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int,
                            ctypes.c_char_p, ctypes.c_uint)
_AT_FDCWD = -100
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


def rename(old, new, flags):
    if _libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD,
                       os.fsencode(new), flags) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def rename_exchange(one, two):
    rename(one, two, RENAME_EXCHANGE)


def data_segments(fd):
    """[(offset, end)] of a file's data, by SEEK_DATA and SEEK_HOLE."""
    segments = []
    at = 0
    while True:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return segments
            raise
        at = os.lseek(fd, begin, os.SEEK_HOLE)
        segments.append((begin, at))


# Disks with defects

class FaultDisk:
    """A device file whose sectors can be made bad."""

    def __init__(self, scratch, backing):
        self.mountpoint = tempfile.mkdtemp(prefix='disk-', dir=scratch)
        self.backing = backing
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(
            [FAULTDISK, '--foreground', self.backing, self.mountpoint])
        until = time.monotonic() + SECONDS
        while not os.path.ismount(self.mountpoint):
            if self.process.poll() is not None:
                raise RuntimeError('faultdisk ended')
            if time.monotonic() > until:
                raise RuntimeError('faultdisk does not mount')
            time.sleep(0.01)
        self.disk = os.path.join(self.mountpoint, 'disk')
        return self

    def control(self, line):
        with open(os.path.join(self.mountpoint, 'control'), 'w',
                  encoding='ascii') as file:
            file.write(line + '\n')

    def faults(self):
        with open(os.path.join(self.mountpoint, 'control'),
                  encoding='ascii') as file:
            return file.read()

    def __exit__(self, *_):
        subprocess.run(['umount', '-l', self.mountpoint], check=False)
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.rmdir(self.mountpoint)
