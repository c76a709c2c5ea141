# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on a volume with its device's writes and flushes recorded
(record_writes.c), and the states that a power cut can leave of it.

A state of the medium after a cut is all writes before the last complete flush
and any part of the later ones, sector by sector.
"""

import errno
import hashlib
import os
import random
import struct

import store

STEPS = 30
# Of a file with holes.
PIECES = 45
WRITE, FLUSHED, FLUSH_BEGINS, ACKNOWLEDGED = range(4)
FAIL = '.fail'  # behind the log's name: record_writes.c
PRELOAD = os.path.join(store.BUILD, 'tests', 'store', 'record_writes.so')


def digest(data, attribute=None):
    """What a file is: its bytes, and those of an extended attribute."""
    first = hashlib.sha256(data).hexdigest()
    if attribute is None:
        return first
    return f'{first} {hashlib.sha256(attribute).hexdigest()}'


class Work:
    """Steps of operations, each followed by an fsync that is logged."""

    def __init__(self, rng, log_path, has_attributes):
        self.rng = rng
        self.has_attributes = has_attributes
        self.mount = None
        self.log = os.open(log_path, os.O_WRONLY | os.O_APPEND)
        self.files = {}
        self.attributes = {}
        self.directories = ['']
        self.serial = 0
        # After each step: what is there, and the names it touched.
        self.history = []

    def new_name(self):
        self.serial += 1
        long = 'x' * self.rng.choice((0, 0, 30, 180))
        return os.path.join(self.rng.choice(self.directories),
                            f'n{self.serial}{long}')

    def operation(self, touched):
        """One operation; true if it has to be the last of its step."""
        rng = self.rng
        untouched = [name for name in self.files if name not in touched]
        choice = rng.randrange(18 if self.has_attributes else 16)
        name = self.new_name()
        if choice < 4 or len(untouched) < 2:
            data = rng.randbytes(rng.choice((10, 200, 600, 5000, 40000)))
            if rng.random() < 0.15:
                data = self.write_pieces(name)
            else:
                with open(self.mount.file(name), 'wb') as file:
                    file.write(data)
            self.attributes[name] = None
            self.note(name, data)
            touched.add(name)
            return False
        old, other = rng.sample(untouched, 2)
        if choice < 7:
            new = name if choice < 6 else other
            os.rename(self.mount.file(old), self.mount.file(new))
            self.files[new] = self.files.pop(old)
            self.attributes[new] = self.attributes.pop(old)
            touched.update((old, new))
        elif choice == 7:
            os.unlink(self.mount.file(old))
            del self.files[old]
            del self.attributes[old]
            touched.add(old)
        elif choice == 8:
            os.mkdir(self.mount.file(name))
            self.directories.append(name)
            touched.add(name)
        elif choice == 9:
            # A hole, and blocks behind the end of the file.
            with open(self.mount.file(old), 'rb+', buffering=0) as file:
                data = bytearray(file.read())
                begin = rng.randrange(len(data))
                end = min(len(data), begin + rng.randrange(1, 30000))
                data[begin:end] = bytes(end - begin)
                store.fallocate(file.fileno(),
                                store.PUNCH_HOLE | store.KEEP_SIZE, begin,
                                end - begin)
                store.fallocate(file.fileno(), store.KEEP_SIZE, 0,
                                len(data) + rng.randrange(20000))
            self.note(old, data)
            touched.add(old)
        elif choice == 10:
            data = bytes(rng.randrange(1, 20000))
            with open(self.mount.file(name), 'wb', buffering=0) as file:
                store.fallocate(file.fileno(), 0, 0, len(data))
                if rng.random() < 0.5:
                    data = rng.randbytes(len(data) // 2 + 1) + \
                        data[len(data) // 2 + 1:]
                    file.write(data[:len(data) // 2 + 1])
            self.attributes[name] = None
            self.note(name, data)
            touched.add(name)
        elif choice == 12:
            # The name is another file's at once.
            os.rename(self.mount.file(old), self.mount.file(name))
            data = rng.randbytes(300)
            with open(self.mount.file(old), 'wb') as file:
                file.write(data)
            self.files[name] = self.files[old]
            self.attributes[name] = self.attributes[old]
            self.attributes[old] = None
            self.note(old, data)
            touched.update((old, name))
        elif choice == 13:
            store.rename_exchange(self.mount.file(old),
                                  self.mount.file(other))
            for table in (self.files, self.attributes):
                table[old], table[other] = table[other], table[old]
            touched.update((old, other))
        elif choice == 14:
            # Never on the medium, but for a moment in the place of another.
            temporary = self.mount.file(name)
            with open(temporary, 'wb') as file:
                file.write(rng.randbytes(3000))
            if rng.random() < 0.5:
                os.rename(temporary, self.mount.file(old))
                temporary = self.mount.file(old)
                del self.files[old]
                del self.attributes[old]
            os.unlink(temporary)
            touched.update((old, name))
        elif choice == 15:
            # New names would not be known by both of their paths.
            return self.exchange_directories(touched)
        elif choice > 15:
            # A named stream: a new one, another value, none any more.
            if self.attributes[old] is not None and rng.random() < 0.3:
                os.removexattr(self.mount.file(old), 'user.cut')
                self.attributes[old] = None
            else:
                self.attributes[old] = rng.randbytes(
                    rng.choice((5, 250, 400, 6000)))
                os.setxattr(self.mount.file(old), 'user.cut',
                            self.attributes[old])
            with open(self.mount.file(old), 'rb') as file:
                self.note(old, file.read())
            touched.add(old)
        else:
            with open(self.mount.file(old), 'rb') as file:
                data = file.read() + rng.randbytes(3000)
            with open(self.mount.file(old), 'ab') as file:
                file.write(data[-3000:])
            self.note(old, data)
            touched.add(old)
        return False

    def write_pieces(self, name):
        """A file of more extents than its ICB has room for: with AEDs."""
        block = os.statvfs(self.mount.path).f_bsize
        data = b''
        with open(self.mount.file(name), 'wb', buffering=0) as file:
            for _ in range(PIECES):
                piece = self.rng.randbytes(block)
                os.pwrite(file.fileno(), piece, len(data))
                data += piece + bytes(block)
            os.ftruncate(file.fileno(), len(data))
        return data

    def exchange_directories(self, touched):
        """Of two in the top directory, with all that is in them."""
        tops = [name for name in self.directories
                if name and os.sep not in name]
        if len(tops) < 2:
            return False
        one, two = self.rng.sample(tops, 2)
        store.rename_exchange(self.mount.file(one), self.mount.file(two))

        def moved(name):
            for old, new in ((one, two), (two, one)):
                if name == old or name.startswith(old + os.sep):
                    return new + name[len(old):]
            return name
        for path in list(self.files):
            if moved(path) != path:
                touched.update((path, moved(path)))
        # What went in this step may be there still, under either name.
        touched.update([moved(path) for path in touched])
        self.directories = [moved(name) for name in self.directories]
        self.files = {moved(name): value
                      for name, value in self.files.items()}
        self.attributes = {moved(name): value
                           for name, value in self.attributes.items()}
        return True

    def note(self, name, data):
        self.files[name] = digest(data, self.attributes[name])

    def step(self):
        touched = set()
        for _ in range(self.rng.randrange(1, 5)):
            if self.operation(touched):
                break
        with store.open_any(self.mount.path) as fd:
            os.fsync(fd)
        os.write(self.log, struct.pack('<QQQ', ACKNOWLEDGED,
                                       len(self.history), 0))
        self.history.append((dict(self.files), touched))


def read_log(path):
    with open(path, 'rb') as file:
        raw = file.read()
    events = []
    at = 0
    while at < len(raw):
        kind, offset, length = struct.unpack_from('<QQQ', raw, at)
        at += 24
        data = b''
        if kind == WRITE:
            data = raw[at:at + length]
            at += length
        events.append((kind, offset, data))
    return events


def state_after(base, events, rng):
    """A medium after a cut behind these events; the last step it knows of."""
    durable = begun = 0
    acknowledged = -1
    for number, (kind, offset, _) in enumerate(events):
        if kind == FLUSH_BEGINS:
            begun = number
        elif kind == FLUSHED:
            durable = begun
        elif kind == ACKNOWLEDGED:
            acknowledged = offset
    medium = bytearray(base)
    for number, (kind, offset, data) in enumerate(events):
        if kind != WRITE:
            continue
        if number < durable:
            medium[offset:offset + len(data)] = data
        elif rng.random() < 0.5:
            for at in range(0, len(data), 512):
                if rng.random() < 0.8:
                    sector = data[at:at + 512]
                    medium[offset + at:offset + at + len(sector)] = sector
    return medium, acknowledged


def read_attribute(path):
    try:
        return os.getxattr(path, 'user.cut')
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise


def read_tree(top):
    found = {}
    for path, _, files in os.walk(top):
        for name in files:
            full = os.path.join(path, name)
            try:
                with open(full, 'rb') as file:
                    found[os.path.relpath(full, top)] = digest(
                        file.read(), read_attribute(full))
            except OSError as error:
                found[os.path.relpath(full, top)] = str(error)
    return found


def judge(found, history, acknowledged):
    """What is wrong with a tree."""
    wrong = []
    nothing = ({}, set())
    old = history[acknowledged] if acknowledged >= 0 else nothing
    new = history[acknowledged + 1] if acknowledged + 1 < len(history) \
        else nothing
    there = set(found.values())
    for name, content in old[0].items():
        if name not in new[1]:
            if found.get(name) != content:
                wrong.append(f'lost: {name[:30]}: {found.get(name)}')
        elif content in new[0].values() and content not in there:
            wrong.append(f'a renamed file is lost: {name[:30]}')
    for name, content in found.items():
        if content.startswith('['):
            wrong.append(f'leads to nothing: {name[:30]}: {content}')
        if name not in old[0] and name not in new[1]:
            wrong.append(f'was removed: {name[:30]}')
    return wrong


def start_recorded(mount, log, flush_ms=0):
    """Start udfd with its writes and flushes recorded in a file."""
    os.environ.update(LD_PRELOAD=PRELOAD, RECORD_IMAGE=mount.image,
                      RECORD_LOG=log, RECORD_FLUSH_MS=str(flush_ms))
    try:
        mount.start()
    finally:
        del os.environ['LD_PRELOAD']


def record(scratch, form, rng):
    """Do the work; the medium before, the events, the history."""
    # Few free blocks for metadata: that it grows is cut, too.
    image = store.make_image(os.path.join(scratch, 'image'), form, 8, spare=1,
                             unit=4)
    log = os.path.join(scratch, 'writes')
    with open(image, 'rb') as file:
        base = file.read()
    with open(log, 'wb'):
        pass
    work = Work(rng, log, form.revision != '1.50')
    # The second time on directories that were read from the medium.
    for _ in range(2):
        mount = store.Mount(scratch, image)
        start_recorded(mount, log)
        with mount_started(mount):
            work.mount = mount
            for _ in range(STEPS // 2):
                work.step()
            mount.unmount()
    return base, read_log(log), work.history


class mount_started:  # pylint: disable=invalid-name
    """A mount that runs already as a context."""

    def __init__(self, mount):
        self.mount = mount

    def __enter__(self):
        return self.mount

    def __exit__(self, *arguments):
        return self.mount.__exit__(*arguments)
