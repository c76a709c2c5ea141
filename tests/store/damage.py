# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes with files on them, ways to break them, and what is left."""

import hashlib
import os
import struct
import subprocess

import repartition
import store

TREE = os.path.join(store.TOP, 'tests', 'rigs', 'tree')
TAG_LVID = 9


# What is broken, and how many files are lost by it, but for their names.
DAMAGES = (
    ('used_is_free', 0), ('free_is_taken', 0), ('link_count', 0),
    ('integrity', 0), ('integrity_gone', 0), ('bitmap_header', 0),
    ('parent', 0), ('anchor', 0), ('main_sequence', 0),
    ('reserve_sequence', 0), ('icb_damaged', 1), ('dangling', 2),
    ('extent_outside', 1), ('extent_short', 1), ('unique_id', 0),
    ('name_damaged', 0), ('directory_lost', 0), ('streams_lost', 1),
    ('shared_block', 1), ('shared_icb', 2), ('shared_directory', 1),
    ('shared_twice', 2), ('root_lost', 0), ('file_set_lost', 0),
    ('root_and_file_set_lost', 0),
    ('file_set_checksum', 0), ('system_streams_lost', 0), ('anchors', 0),
    ('no_unique_id', 0), ('circle', 0), ('icb_checksum', 0),
    ('directory_checksum', 0), ('root_checksum', 0), ('names_checksum', 0),
    ('main_ends_early', 0), ('anchor_misleads', 0), ('partition_number', 0), ('everything', 1),
)


def work(mount, seed):
    for verb, number in (('make', '0'), ('change', '1'), ('change', '2')):
        subprocess.run([TREE, verb, seed, number, mount.path], check=True)
    top = mount.file('more')
    os.mkdir(top)
    with open(os.path.join(top, 'holes'), 'wb') as file:
        for at in (0, 1 << 20, 3 << 20):
            file.seek(at)
            file.write(b'data' * 1000)
        file.truncate(5 << 20)
        try:
            store.fallocate(file.fileno(), store.KEEP_SIZE, 6 << 20, 1 << 20)
        except OSError:
            # Until UDF 1.50 there are no blocks behind the end.
            pass
    for i in range(40):
        with open(os.path.join(top, f'f{i}'), 'wb') as file:
            file.write(b'x' * (i * 331))
    for i in range(0, 40, 3):
        os.unlink(os.path.join(top, f'f{i}'))
    os.link(os.path.join(top, 'f1'), os.path.join(top, 'f1 again'))
    os.makedirs(os.path.join(top, 'a', 'b', 'c'))
    try:
        os.setxattr(os.path.join(top, 'f2'), 'user.one', b'1' * 5000)
        os.setxattr(os.path.join(top, 'a'), 'user.two', b'2')
    except OSError:
        # Until UDF 1.50 there are none.
        pass


class Damage:
    """Ways to break a volume of type 1 with blocks of 2048."""

    def __init__(self, volume):
        self.volume = volume

    def find_icb(self, wanted):
        """The lbn of the first ICB that wanted() likes."""
        for lbn in range(self.volume.length):
            block = self.volume.block(lbn)
            if repartition.tag_of(block) in (repartition.TAG_FE,
                                             repartition.TAG_EFE):
                icb = repartition.Icb(block)
                if wanted(icb):
                    return lbn, icb
        raise RuntimeError('no such ICB')

    def large_file(self, skip=0):
        seen = []

        def wanted(icb):
            if icb.file_type == 5 and not icb.embedded() and icb.size > 2048:
                seen.append(icb)
            return len(seen) == skip + 1 and seen[-1] is icb
        return self.find_icb(wanted)

    def put_icb(self, lbn, icb):
        icb.seal(lbn)
        self.volume.put(lbn, icb.block)

    def bitmap(self):
        """The lbn of the space bitmap."""
        descriptor = self.volume.volume_block(
            self.volume.find(repartition.TAG_PD)[0])
        return struct.unpack_from('<II', descriptor, 56 + 8)[1]

    def flip_bit(self, lbn):
        at = 24 * 8 + lbn
        number, bit = divmod(at, self.volume.size * 8)
        block = self.volume.block(self.bitmap() + number)
        block[bit // 8] ^= 1 << bit % 8
        self.volume.put(self.bitmap() + number, block)

    def used_is_free(self):
        lbn, _ = self.large_file()
        self.flip_bit(lbn)

    def free_is_taken(self):
        for lbn in range(self.volume.length - 500, self.volume.length - 490):
            self.flip_bit(lbn)

    def link_count(self):
        lbn, icb = self.large_file()
        struct.pack_into('<H', icb.block, 48, 7)
        self.put_icb(lbn, icb)

    def integrity(self):
        for number in range(1024):
            block = self.volume.volume_block(number)
            if repartition.tag_of(block) == TAG_LVID:
                struct.pack_into('<I', block, 80, 12345)
                repartition.seal(block, number)
                self.volume.put_volume_block(number, block)

    def icb_damaged(self):
        lbn, icb = self.large_file()
        icb.block[60] ^= 0xFF
        self.volume.put(lbn, icb.block)

    def extent_outside(self):
        lbn, icb = self.large_file()
        struct.pack_into('<I', icb.block, icb.ads_at + 4, 0x7FFFFFF0)
        self.put_icb(lbn, icb)

    def extent_short(self):
        lbn, icb = self.large_file()
        struct.pack_into('<Q', icb.block, 56, icb.size + 100000)
        self.put_icb(lbn, icb)

    def shared_block(self):
        _, one = self.large_file(0)
        lbn, other = self.large_file(1)
        at = struct.unpack_from('<I', one.block, one.ads_at + 4)[0]
        struct.pack_into('<I', other.block, other.ads_at + 4, at)
        self.put_icb(lbn, other)

    def lead_to(self, target):
        """Let the data of a file be in a block that something else has."""
        lbn, icb = self.large_file(1)
        struct.pack_into('<I', icb.block, icb.ads_at + 4, target)
        self.put_icb(lbn, icb)

    def shared_icb(self):
        """An ICB that is a file's data as well, and it the other way round."""
        one, icb = self.large_file(0)
        other, _ = self.large_file(1)
        self.lead_to(one)
        struct.pack_into('<I', icb.block, icb.ads_at + 4, other)
        self.put_icb(one, icb)

    def shared_directory(self):
        _, icb = self.find_icb(
            lambda icb: icb.file_type == 4 and not icb.embedded() and
            self.is_below_root(icb))
        self.lead_to(icb.extents()[0][1])

    def shared_twice(self):
        """A file that has a block twice, which another one has, too."""
        lbn, icb = self.large_file(0)
        _, data = icb.extents()[0]
        icb.set_ads(repartition.AD_SHORT,
                    struct.pack('<IIII', 2048, data, icb.size - 2048, data))
        self.put_icb(lbn, icb)
        self.lead_to(data)

    def unique_id(self):
        _, one = self.large_file(0)
        lbn, other = self.large_file(1)
        at = other.header - 16
        other.block[at:at + 8] = one.block[at:at + 8]
        self.put_icb(lbn, other)

    def name_damaged(self):
        lbn, icb = self.find_icb(lambda icb: icb.file_type == 4 and
                                 icb.size > 1000 and not icb.embedded())
        del lbn
        _, data = icb.extents()[0]
        block = self.volume.block(data)
        block[512 + 20] ^= 0xFF
        block[8] ^= 0xFF
        self.volume.put(data, block)

    def parent(self):
        lbn, icb = self.find_icb(
            lambda icb: icb.file_type == 4 and icb.embedded() and
            icb.size > 40 and self.is_below_root(icb))
        fid = icb.block[icb.ads_at:icb.ads_at + 40]
        struct.pack_into('<I', fid, 24, lbn)
        repartition.seal(fid, lbn)
        icb.block[icb.ads_at:icb.ads_at + 40] = fid
        self.put_icb(lbn, icb)

    def reserve_sequence(self):
        number = self.volume.find(repartition.TAG_LVD)[1]
        self.volume.put_volume_block(number, bytes(self.volume.size))

    def anchor(self):
        self.volume.put_volume_block(repartition.AVDP_BLOCK,
                                     bytes(self.volume.size))

    def anchors(self):
        last = len(self.volume.bytes) // self.volume.size - 1
        for number in (repartition.AVDP_BLOCK, last,
                       last - repartition.AVDP_BLOCK):
            self.volume.put_volume_block(number, bytes(self.volume.size))

    def main_sequence(self):
        number = self.volume.find(repartition.TAG_PD)[0]
        self.volume.put_volume_block(number, b'\xff' * self.volume.size)

    def main_ends_early(self):
        """A mount follows the reserve sequence: what the main one says is
        nothing to go by."""
        number = self.volume.find(repartition.TAG_LVD)[0]
        block = self.volume.volume_block(number)
        struct.pack_into('<I', block, 252, 0x7FFFFFF0)
        repartition.seal(block, number)
        self.volume.put_volume_block(number, block)
        number = self.volume.find(repartition.TAG_PD)[0]
        self.volume.put_volume_block(number, bytes(self.volume.size))

    def anchor_misleads(self):
        """The first anchor has the reserve sequence where another anchor is,
        and the main one does not do without it."""
        number = self.volume.find(repartition.TAG_LVD)[0]
        self.volume.put_volume_block(number, b'\xff' * self.volume.size)
        block = self.volume.volume_block(repartition.AVDP_BLOCK)
        struct.pack_into('<I', block, 28,
                         len(self.volume.bytes) // self.volume.size - 1)
        repartition.seal(block, repartition.AVDP_BLOCK)
        self.volume.put_volume_block(repartition.AVDP_BLOCK, block)

    def partition_number(self):
        """The main sequence has no logical volume, and the descriptor of a
        partition that is not in it: with the one it lacks the other."""
        number = self.volume.find(repartition.TAG_PD)[0]
        block = self.volume.volume_block(number)
        struct.pack_into('<H', block, 22, 5)
        repartition.seal(block, number)
        self.volume.put_volume_block(number, block)
        number = self.volume.find(repartition.TAG_LVD)[0]
        self.volume.put_volume_block(number, b'\xff' * self.volume.size)

    def integrity_gone(self):
        for number in range(1024):
            block = self.volume.volume_block(number)
            if repartition.tag_of(block) == TAG_LVID:
                self.volume.put_volume_block(number, bytes(self.volume.size))

    def bitmap_header(self):
        block = self.volume.block(self.bitmap())
        block[8] ^= 0xFF
        self.volume.put(self.bitmap(), block)

    def directory_lost(self):
        """The ICB of a directory that has files."""
        lbn, icb = self.find_icb(
            lambda icb: icb.file_type == 4 and not icb.embedded() and
            icb.size > 400 and self.is_below_root(icb))
        icb.block[60] ^= 0xFF
        self.volume.put(lbn, icb.block)

    def is_below_root(self, icb):
        """Of the root and the system's streams the unique id is 0."""
        return any(icb.block[icb.header - 16:icb.header - 8])

    def dangling(self):
        lbn, _ = self.find_icb(lambda icb: icb.file_type == 5)
        self.volume.put(lbn, bytes(self.volume.size))

    def streams_lost(self):
        lbn, _ = self.find_icb(lambda icb: icb.file_type == 13 and
                               self.is_below_root(icb))
        self.volume.put(lbn, bytes(self.volume.size))

    def root(self):
        """The lbn of the root's ICB."""
        file_set = self.volume.block(self.volume.file_set)
        return struct.unpack_from('<I', file_set, 404)[0]

    def root_lost(self):
        self.volume.put(self.root(), b'\x5a' * self.volume.size)

    def file_set_lost(self):
        self.volume.put(self.volume.file_set, bytes(self.volume.size))

    def root_and_file_set_lost(self):
        self.root_lost()
        self.file_set_lost()

    def file_set_checksum(self):
        block = self.volume.block(self.volume.file_set)
        block[8] ^= 0xFF
        self.volume.put(self.volume.file_set, block)

    def system_streams_lost(self):
        lbn, _ = self.find_icb(lambda icb: icb.file_type == 13 and
                               not self.is_below_root(icb))
        self.volume.put(lbn, bytes(self.volume.size))

    def no_unique_id(self):
        lbn, icb = self.large_file()
        icb.block[icb.header - 16:icb.header - 8] = bytes(8)
        self.put_icb(lbn, icb)

    def names(self, lbn):
        """Each FID of a directory in one block or in its ICB: the block that
        it is in, that block's bytes, and where it is in them."""
        icb = repartition.Icb(self.volume.block(lbn))
        block, at = icb.block, icb.ads_at
        if not icb.embedded():
            lbn = icb.extents()[0][1]
            block, at = self.volume.block(lbn), 0
        end = at + icb.size
        while at < end:
            yield lbn, block, at
            name_length, = struct.unpack_from('<B', block, at + 19)
            use_length, = struct.unpack_from('<H', block, at + 36)
            at += (38 + name_length + use_length + 3) & ~3

    def put_name(self, lbn, block, at):
        length, = struct.unpack_from('<H', block, at + 10)
        fid = block[at:at + 16 + length]
        repartition.seal(fid, lbn)
        block[at:at + 16 + length] = fid
        if repartition.tag_of(block) in (repartition.TAG_FE,
                                         repartition.TAG_EFE):
            repartition.Icb(block).seal(lbn)
        self.volume.put(lbn, block)

    def circle(self):
        """A directory has no name but in one that is below it."""
        parent, _ = self.find_icb(
            lambda icb: icb.file_type == 4 and not icb.embedded() and
            self.is_below_root(icb))
        below = deeper = None
        for lbn, block, at in self.names(parent):
            if block[at + 18] & 0x0E == 2:
                below, = struct.unpack_from('<I', block, at + 24)
                block[at + 18] |= 4
                self.put_name(lbn, block, at)
        for _, block, at in self.names(below):
            if block[at + 18] & 0x0E == 2:
                deeper, = struct.unpack_from('<I', block, at + 24)
        for lbn, block, at in self.names(deeper):
            if not block[at + 18] & 0x0C:
                struct.pack_into('<I', block, at + 24, below)
                block[at + 18] |= 2
                self.put_name(lbn, block, at)

    def icb_checksum(self):
        lbn, icb = self.large_file()
        icb.block[8] ^= 0xFF
        self.volume.put(lbn, icb.block)

    def directory_checksum(self):
        lbn, icb = self.find_icb(
            lambda icb: icb.file_type == 4 and not icb.embedded() and
            self.is_below_root(icb))
        icb.block[4] ^= 0xFF
        self.volume.put(lbn, icb.block)

    def root_checksum(self):
        block = self.volume.block(self.root())
        block[9] ^= 0x01
        self.volume.put(self.root(), block)

    def directory_of(self, name):
        """The lbn of the directory that has this name."""
        wanted = b'\x08' + name.encode()

        def has_name(block, at):
            length, = struct.unpack_from('<H', block, at + 36)
            at += 38 + length
            return block[at:at + len(wanted)] == wanted
        for lbn in range(self.volume.length):
            block = self.volume.block(lbn)
            if repartition.tag_of(block) in (repartition.TAG_FE,
                                             repartition.TAG_EFE) and \
                    block[27] == repartition.FT_DIRECTORY and \
                    any(has_name(data, at)
                        for _, data, at in self.names(lbn)):
                return lbn
        raise RuntimeError(f'no directory has {name}')

    def change_names(self, lbn, change):
        """Let change(block, at) break the FIDs of a directory that it
        likes; with those in its ICB that is as it has to be."""
        for where, block, at in list(self.names(lbn)):
            now = self.volume.block(where)
            change(now, at)
            if where == lbn:
                repartition.Icb(now).seal(lbn)
            self.volume.put(where, now)

    def same_name(self, names):
        """All files of these names, which are equally long and in one
        directory, have the first one's."""
        lbn = self.directory_of(names[0])
        others = [b'\x08' + name.encode() for name in names[1:]]

        def change(block, at):
            length, = struct.unpack_from('<H', block, at + 36)
            at_name = at + 38 + length
            end = at_name + block[at + 19]
            if block[at_name:end] in others:
                block[at_name + 1:end] = names[0].encode()
                where = struct.unpack_from('<I', block, at + 12)[0]
                length, = struct.unpack_from('<H', block, at + 10)
                fid = block[at:at + 16 + length]
                repartition.seal(fid, where)
                block[at:at + 16 + length] = fid
        self.change_names(lbn, change)

    def left_open(self, writer):
        """Whoever writes the volume has not closed it."""
        for number in range(1024):
            block = self.volume.volume_block(number)
            if repartition.tag_of(block) == TAG_LVID:
                partitions, = struct.unpack_from('<I', block, 72)
                struct.pack_into('<I', block, 28, 0)
                struct.pack_into('23s', block, 80 + 8 * partitions + 1,
                                 writer)
                repartition.seal(block, number)
                self.volume.put_volume_block(number, block)

    def names_checksum(self):
        """Every other name of a directory, and its parent entry."""
        lbn, _ = self.find_icb(
            lambda icb: icb.file_type == 4 and not icb.embedded() and
            self.is_below_root(icb))
        seen = []

        def change(block, at):
            seen.append(at)
            if len(seen) % 2 == 1:
                block[at + (4 if len(seen) % 4 == 1 else 8)] ^= 0xFF
        self.change_names(lbn, change)

    def everything(self):
        self.anchor()
        self.reserve_sequence()
        self.used_is_free()
        self.directory_lost()
        self.extent_outside()
        self.bitmap_header()


def few_files(mount):
    """Less than work() makes, for volumes that are tried in many states."""
    for top in ('one', 'two'):
        os.makedirs(mount.file(top, 'below', 'deeper'))
        for i in range(12):
            name = f'{top}{i}' + 'n' * (i * 9)
            with open(mount.file(top, name), 'wb') as file:
                file.write(f'{top} {i} '.encode() * (1 << i % 10))
        with open(mount.file(top, 'below', 'deeper', 'last'), 'wb') as file:
            file.write(top.encode() * 2000)
    os.link(mount.file('one', 'one0'), mount.file('two', 'linked'))
    os.symlink('one/one0', mount.file('link'))
    os.setxattr(mount.file('one', 'one0'), 'user.short', b'value')
    os.setxattr(mount.file('two', 'below'), 'user.long', b'value' * 1000)


def attributes(path):
    """{name: digest} of the extended attributes that can be read."""
    found = {}
    try:
        for name in os.listxattr(path, follow_symlinks=False):
            value = os.getxattr(path, name, follow_symlinks=False)
            found[name] = hashlib.sha256(value).hexdigest()
    except OSError:
        pass
    return found


def contents(top, with_attributes=True):
    """{path: digest} of all that can be read; PATH:NAME for attributes."""
    found = {}
    for path, directories, names in os.walk(top):
        for name in directories + names if with_attributes else ():
            full = os.path.join(path, name)
            for attribute, digest in attributes(full).items():
                found[f'{os.path.relpath(full, top)}:{attribute}'] = digest
        for name in names:
            full = os.path.join(path, name)
            try:
                if os.path.islink(full):
                    data = os.readlink(full).encode()
                else:
                    with open(full, 'rb') as file:
                        data = file.read()
            except OSError:
                continue
            found[os.path.relpath(full, top)] = hashlib.sha256(
                data).hexdigest()
    return found


def read(scratch, image, with_attributes=True):
    """What can be read of a volume, without changing it; None: nothing."""
    try:
        with store.Mount(scratch, image, '--read-only') as mount:
            found = contents(mount.path, with_attributes)
            mount.unmount()
    except RuntimeError:
        return None
    return found
