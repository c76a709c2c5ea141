# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a plain UDF image into one with a metadata or a virtual partition.

No free tool makes such volumes with files on them. This takes a volume of type
1 that has, moves its file set, ICBs and directories into a partition of the
other kind, in scattered places, and wipes where they were, so that a reader
finds nothing unless it follows the new partition (UDF 2.50 2.2.10, 2.2.13;
UDF 2.01 2.2.8, 2.2.11). The Linux kernel's driver is asked whether the result
is right (kernel/test_partitions).

to_writable() goes on to a volume that can be written: with a metadata bitmap,
free space in both bitmaps, and an integrity descriptor about both partitions.
"""

import struct

AVDP_BLOCK = 256
TAG_PVD, TAG_AVDP, TAG_PD, TAG_LVD, TAG_TD = 1, 2, 5, 6, 8
TAG_LVID, TAG_SPACE_BITMAP = 9, 264
TAG_FSD, TAG_FID, TAG_FE, TAG_EFE = 256, 257, 261, 266
FT_DIRECTORY, FT_STREAMS, FT_VAT = 4, 13, 248
FT_METADATA, FT_MIRROR, FT_BITMAP = 250, 251, 252
AD_SHORT, AD_LONG, AD_IN_ICB = 0, 1, 3
PIECES = 16  # extents of the metadata file, at most
SPARING_ENTRIES = 56  # where those of a sparing table begin


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
            crc &= 0xFFFF
    return crc


def seal(block, location, crc_length=None):
    """Put location, CRC and checksum into a descriptor's tag."""
    if crc_length is None:
        crc_length = struct.unpack_from('<H', block, 10)[0]
    struct.pack_into('<HHI', block, 8, crc16(block[16:16 + crc_length]),
                     crc_length, location)
    block[4] = 0
    block[4] = sum(block[:16]) & 0xFF


def tag_of(block):
    return struct.unpack_from('<H', block)[0]


class Icb:
    """A File Entry or Extended File Entry in a block."""

    def __init__(self, block):
        self.block = block
        self.header = 216 if tag_of(block) == TAG_EFE else 176
        assert tag_of(block) in (TAG_FE, TAG_EFE), tag_of(block)
        self.file_type = block[27]
        self.flags = struct.unpack_from('<H', block, 34)[0]
        self.size = struct.unpack_from('<Q', block, 56)[0]
        self.ea_length, self.ad_length = struct.unpack_from(
            '<II', block, self.header - 8)
        self.ads_at = self.header + self.ea_length

    def embedded(self):
        return self.flags & 7 == AD_IN_ICB

    def data(self):
        return self.block[self.ads_at:self.ads_at + self.size]

    def extents(self):
        """[(length word, lbn)] of short or long descriptors."""
        step = 8 if self.flags & 7 == AD_SHORT else 16
        found = []
        for at in range(self.ads_at, self.ads_at + self.ad_length, step):
            word, lbn = struct.unpack_from('<II', self.block, at)
            assert word >> 30 != 3, 'a chain of AEDs'
            if word & 0x3FFFFFFF == 0:
                break
            found.append((word, lbn))
        return found

    def set_ads(self, form, ads):
        self.block[self.ads_at:] = bytes(len(self.block) - self.ads_at)
        assert self.ads_at + len(ads) <= len(self.block), 'too many extents'
        self.block[self.ads_at:self.ads_at + len(ads)] = ads
        struct.pack_into('<I', self.block, self.header - 4, len(ads))
        struct.pack_into('<H', self.block, 34, self.flags & ~7 | form)

    def seal(self, location):
        length = struct.unpack_from('<I', self.block, self.header - 4)[0]
        seal(self.block, location, self.ads_at + length - 16)


class Volume:
    def __init__(self, image, block_size):
        self.image = image
        self.size = block_size
        with open(image, 'rb') as file:
            self.bytes = bytearray(file.read())
        anchor = self.volume_block(AVDP_BLOCK)
        assert tag_of(anchor) == TAG_AVDP
        main, main_at, reserve, reserve_at = struct.unpack_from(
            '<IIII', anchor, 16)
        self.sequences = [(main_at, main // block_size),
                          (reserve_at, reserve // block_size)]
        descriptor = self.volume_block(self.find(TAG_PD)[0])
        self.number = struct.unpack_from('<H', descriptor, 22)[0]
        self.start, self.length = struct.unpack_from('<II', descriptor, 188)
        logical = self.volume_block(self.find(TAG_LVD)[0])
        self.file_set = struct.unpack_from('<I', logical, 252)[0]
        self.integrity = struct.unpack_from('<I', logical, 436)[0]
        self.map_end = 440 + logical[441]
        _, self.bitmap_at = struct.unpack_from('<II', descriptor, 64)
        self.metadata = []  # blocks of the new partition
        self.units = []     # [(first, count)]: those that stay together
        self.old = []       # lbns that were metadata
        self.nodes = {}     # lbn of an ICB -> block of the new partition

    def volume_block(self, block):
        at = block * self.size
        return self.bytes[at:at + self.size]

    def put_volume_block(self, block, data):
        at = block * self.size
        assert len(data) == self.size and at + self.size <= len(self.bytes)
        self.bytes[at:at + self.size] = data

    def block(self, lbn):
        return self.volume_block(self.start + lbn)

    def put(self, lbn, data):
        self.put_volume_block(self.start + lbn, data)

    def find(self, tag):
        """The blocks of the descriptors of this kind in both sequences."""
        found = []
        for first, count in self.sequences:
            for block in range(first, first + count):
                if tag_of(self.volume_block(block)) == tag:
                    found.append(block)
                if tag_of(self.volume_block(block)) in (TAG_TD, 0):
                    break
        return found

    def take(self, count=1):
        """The number of the first of so many new blocks of the new partition.

        They stay together where they are put: the kernel's driver takes for
        granted that the blocks of an extent of a virtual partition do.
        """
        first = len(self.metadata)
        self.units.append((first, count))
        self.metadata += [None] * count
        return first

    def file_bytes(self, icb):
        if icb.embedded():
            return bytearray(icb.data())
        data = bytearray()
        for word, lbn in icb.extents():
            length = word & 0x3FFFFFFF
            blocks = -(-length // self.size)
            for i in range(blocks):
                data += self.block(lbn + i)
        return data[:icb.size]

    def move_node(self, lbn):
        """Move an ICB, and a directory with all below it."""
        if lbn in self.nodes:
            return self.nodes[lbn]
        number = self.nodes[lbn] = self.take()
        self.old.append(lbn)
        icb = Icb(self.block(lbn))
        if icb.header == 216:
            length, streams = struct.unpack_from('<II', icb.block, 152)
            if length:
                struct.pack_into('<IH', icb.block, 156,
                                 self.move_node(streams), 1)
        if icb.file_type in (FT_DIRECTORY, FT_STREAMS):
            self.move_directory(icb, number)
        elif not icb.embedded():
            # The data stays where it is: name the first partition.
            icb.set_ads(AD_LONG, b''.join(
                struct.pack('<IIH6x', word, at, 0)
                for word, at in icb.extents()))
        icb.seal(number)
        self.metadata[number] = icb.block
        return number

    def move_directory(self, icb, number):
        data = self.file_bytes(icb)
        first = None
        if not icb.embedded():
            for word, at in icb.extents():
                length = word & 0x3FFFFFFF
                self.old += range(at, at + -(-length // self.size))
            first = self.take(-(-len(data) // self.size))
        at = 0
        while at < len(data):
            name_length, = struct.unpack_from('<B', data, at + 19)
            iu_length, = struct.unpack_from('<H', data, at + 36)
            length = (38 + name_length + iu_length + 3) & ~3
            fid = data[at:at + length]
            assert tag_of(fid) == TAG_FID
            if not fid[18] & 4:
                target, = struct.unpack_from('<I', fid, 24)
                struct.pack_into('<IH', fid, 24, self.move_node(target), 1)
            seal(fid, number if first is None else first + at // self.size)
            data[at:at + length] = fid
            at += length
        if first is None:
            icb.block[icb.ads_at:icb.ads_at + len(data)] = data
            return
        for at in range(0, len(data), self.size):
            self.metadata[first + at // self.size] = data[
                at:at + self.size].ljust(self.size, b'\0')
        # A short descriptor: it is about the partition of its ICB.
        icb.set_ads(AD_SHORT, struct.pack('<II', len(data), first))

    def move_all(self):
        number = self.take()
        file_set = self.block(self.file_set)
        assert tag_of(file_set) == TAG_FSD
        self.old.append(self.file_set)
        root, = struct.unpack_from('<I', file_set, 404)
        struct.pack_into('<IH', file_set, 404, self.move_node(root), 1)
        length, streams = struct.unpack_from('<II', file_set, 464)
        if length:
            struct.pack_into('<IH', file_set, 468, self.move_node(streams), 1)
        seal(file_set, number)
        self.metadata[number] = file_set
        for lbn in self.old:
            self.put(lbn, bytes(self.size))
        return number

    def put_maps(self, file_set, partition_map, revision):
        for block in self.find(TAG_LVD):
            descriptor = self.volume_block(block)
            struct.pack_into('<IH', descriptor, 252, file_set, 1)
            end = self.map_end
            struct.pack_into('<II', descriptor, 264, end - 440 + 64, 2)
            descriptor[end:end + 64] = partition_map
            struct.pack_into('<H', descriptor, 240, revision)
            seal(descriptor, block, end + 64 - 16)
            self.put_volume_block(block, descriptor)

    def map_header(self, name, revision):
        return struct.pack('<BBxxx23sH6xHH', 2, 64, name, revision, 1,
                           self.number)

    def own_icb(self, file_type, lbn, size, form, ads):
        """The ICB of a table's file, made from the root's."""
        block = bytearray(self.template)
        icb = Icb(block)
        block[27] = file_type
        struct.pack_into('<H', block, 34, 0)
        icb.flags = 0
        struct.pack_into('<I', block, icb.header - 8, 0)
        icb.ea_length = 0
        icb.ads_at = icb.header
        struct.pack_into('<Q', block, 56, size)
        if tag_of(block) == TAG_EFE:
            struct.pack_into('<Q', block, 64, size)
            block[152:168] = bytes(16)  # no stream directory
        icb.set_ads(form, ads)
        icb.seal(lbn)
        return block

    def free_end(self, blocks):
        """The first of so many blocks that are free at the end."""
        first = self.length - 64 - blocks
        for lbn in range(first, first + blocks):
            assert not any(self.block(lbn)), f'block {lbn} is in use'
        return first

    def save(self, image):
        with open(image, 'wb') as file:
            file.write(self.bytes)

    def make_template(self):
        root, = struct.unpack_from('<I', self.block(self.file_set), 404)
        self.template = bytes(self.block(root))


def put_sparing(image, block_size, entries, number=None):
    """All copies of a sparing table of one block, or the one of a number, have
    just these entries, (original, mapped), from now on. Returns how many
    copies there are."""
    volume = Volume(image, block_size)
    copies = [at // block_size for at in
              range(0, len(volume.bytes), block_size)
              if volume.bytes[at + 17:at + 36] == b'*UDF Sparing Table\0']
    for block in copies if number is None else [copies[number]]:
        table = volume.volume_block(block)
        struct.pack_into('<H', table, 48, len(entries))
        table[SPARING_ENTRIES:] = bytes(block_size - SPARING_ENTRIES)
        for i, entry in enumerate(sorted(entries)):
            struct.pack_into('<II', table, SPARING_ENTRIES + 8 * i, *entry)
        seal(table, block, SPARING_ENTRIES - 16 + 8 * len(entries))
        volume.put_volume_block(block, table)
    volume.save(image)
    return len(copies)


def place_metadata(volume, first):
    """Put the metadata's blocks in pieces from first on, the last piece
    first. Returns its extents as short descriptors."""
    pieces = [[]]
    step = len(volume.metadata) // PIECES + 1
    for begin, count in volume.units:
        pieces[-1] += volume.metadata[begin:begin + count]
        if len(pieces[-1]) >= step:
            pieces.append([])
    pieces = [piece for piece in pieces if piece]
    ads = []
    at = first
    for piece in reversed(pieces):
        for i, block in enumerate(piece):
            volume.put(at + i, block)
        ads.append(struct.pack('<II', len(piece) * volume.size, at))
        at += len(piece) + 1
    return b''.join(reversed(ads))


def to_metadata(source, target, block_size):
    """A volume with a metadata partition, and its mirror elsewhere. Returns
    the blocks of the device that have the ICBs of the two files."""
    volume = Volume(source, block_size)
    volume.make_template()
    file_set = volume.move_all()
    room = 2 * len(volume.metadata)
    first = volume.free_end(2 * (room + 1))
    icbs = (first, first + room + 1)
    size = len(volume.metadata) * block_size
    for lbn, kind in zip(icbs, (FT_METADATA, FT_MIRROR)):
        ads = place_metadata(volume, lbn + 1)
        volume.put(lbn, volume.own_icb(kind, lbn, size, AD_SHORT, ads))
    volume.put_maps(
        file_set,
        volume.map_header(b'*UDF Metadata Partition', 0x0250) +
        struct.pack('<IIIIHB5x', icbs[0], icbs[1], 0xFFFFFFFF, 1, 1, 1),
        0x0250)
    volume.save(target)
    return [volume.start + lbn for lbn in icbs]


class Bits:
    """A space bitmap as a list of what is free."""

    def __init__(self, volume):
        self.volume = volume
        header = volume.block(volume.bitmap_at)
        assert tag_of(header) == TAG_SPACE_BITMAP
        self.count, length = struct.unpack_from('<II', header, 16)
        at = (volume.start + volume.bitmap_at) * volume.size + 24
        packed = volume.bytes[at:at + length]
        self.free = [packed[i // 8] >> i % 8 & 1 for i in range(self.count)]

    def take(self, count, unit, first=0):
        """So many free blocks from a multiple of a unit on; the first."""
        at = -(-first // unit) * unit
        while not all(self.free[at:at + count]):
            at += unit
        assert at + count <= self.count, 'the volume is full'
        self.free[at:at + count] = [0] * count
        return at

    def save(self):
        volume = self.volume
        at = (volume.start + volume.bitmap_at) * volume.size + 24
        packed = pack_bits(self.free)
        volume.bytes[at:at + len(packed)] = packed


def pack_bits(bits):
    packed = bytearray(-(-len(bits) // 8))
    for i, bit in enumerate(bits):
        packed[i // 8] |= bit << i % 8
    return packed


def put_integrity(volume, revision, free, sizes):
    """Let the integrity descriptor be about both partitions, and closed."""
    block = volume.volume_block(volume.integrity)
    assert tag_of(block) == TAG_LVID
    use_length, = struct.unpack_from('<I', block, 76)
    use = block[88:88 + use_length]
    struct.pack_into('<HHH', use, 40, revision, revision, revision)
    struct.pack_into('<I', block, 72, 2)
    struct.pack_into('<4I', block, 80, *free, *sizes)
    block[96:96 + use_length] = use
    seal(block, volume.integrity, 96 + use_length - 16)
    volume.put_volume_block(volume.integrity, block)


def to_writable(source, target, block_size, duplicate=True, spare=512, unit=32,
                revision=0x0250, whole=False):
    """A volume with a metadata partition that can be written, with so many
    free blocks in it (or a few more, to make a whole number of units). Returns
    the blocks of the device that have the ICBs of its three files."""
    volume = Volume(source, block_size)
    volume.make_template()
    bits = Bits(volume)
    file_set = volume.move_all()
    for lbn in volume.old:
        bits.free[lbn] = 1
    used = len(volume.metadata)
    total = -(-(used + spare) // unit) * unit
    volume.metadata += [bytes(block_size)] * (total - used)
    # In two pieces, of which the second is before the first; some readers
    # want it whole.
    half = 0 if whole else total // unit // 2 * unit
    pieces = [(0, half), (half, total - half)] if half else [(0, total)]
    half_way = bits.count // 2
    icbs = [bits.take(1, 1), bits.take(1, 1, half_way), bits.take(1, 1)]
    ads = {}
    for kind, first in ((FT_METADATA, unit), (FT_MIRROR, half_way)):
        if kind == FT_MIRROR and not duplicate:
            ads[kind] = ads[FT_METADATA]
            continue
        ads[kind] = b''
        places = [bits.take(count, unit, first)
                  for _, count in reversed(pieces)]
        places.reverse()
        for (begin, count), at in zip(pieces, places):
            for i in range(count):
                volume.put(at + i, volume.metadata[begin + i])
            ads[kind] += struct.pack('<II', count * block_size, at)
    # The bitmap of the metadata partition.
    data = bytearray(struct.pack('<HHxxHHHIII', TAG_SPACE_BITMAP, 3, 0, 0, 0,
                                 0, total, -(-total // 8)))
    data += pack_bits([0] * used + [1] * (total - used))
    count = -(-len(data) // block_size)
    at = bits.take(count, 1)
    seal(data, at, 8)
    padded = bytes(data).ljust(count * block_size, b'\0')
    for i in range(count):
        volume.put(at + i, padded[i * block_size:(i + 1) * block_size])
    ads[FT_BITMAP] = struct.pack('<II', len(data), at)
    sizes = {FT_METADATA: total * block_size, FT_MIRROR: total * block_size,
             FT_BITMAP: len(data)}
    for kind, lbn in zip((FT_METADATA, FT_MIRROR, FT_BITMAP), icbs):
        volume.put(lbn, volume.own_icb(kind, lbn, sizes[kind], AD_SHORT,
                                       ads[kind]))
    volume.put_maps(
        file_set,
        volume.map_header(b'*UDF Metadata Partition', revision) +
        struct.pack('<IIIIHB5x', *icbs, unit, unit, duplicate), revision)
    bits.save()
    put_integrity(volume, revision, (sum(bits.free), total - used),
                  (volume.length, total))
    volume.save(target)
    return [volume.start + lbn for lbn in icbs]


def to_virtual(source, target, block_size, revision=0x0201):
    """A volume with a virtual partition, as if on write-once media."""
    volume = Volume(source, block_size)
    volume.make_template()
    file_set = volume.move_all()
    at = volume.free_end(2 * len(volume.metadata))
    table = [0xFFFFFFFF] * len(volume.metadata)
    # Recorded one after the other, the last first, with gaps.
    for first, count in reversed(volume.units):
        for i in range(first, first + count):
            volume.put(at, volume.metadata[i])
            table[i] = at
            at += 1
        at += 1
    entries = struct.pack(f'<{len(table)}I', *table)
    if revision >= 0x0200:
        data = struct.pack('<HH128xIIIHHHxx', 152, 0, 0xFFFFFFFF, 1, 1,
                           0x0150, 0x0200, 0x0201) + entries
    else:
        data = entries + struct.pack('<x23s8xI', b'*UDF Virtual Alloc Tbl',
                                     0xFFFFFFFF)
    blocks = -(-len(data) // block_size)
    # The VAT's ICB is the last block of the image, and of the partition.
    at = len(volume.bytes) // block_size - volume.start
    lbn = at + blocks
    volume.bytes += data.ljust(blocks * block_size, b'\0')
    volume.bytes += bytes(block_size)
    volume.put(lbn, volume.own_icb(
        FT_VAT if revision >= 0x0200 else 0, lbn, len(data), AD_SHORT,
        struct.pack('<II', len(data), at)))
    for block in volume.find(TAG_PD):
        descriptor = volume.volume_block(block)
        struct.pack_into('<I', descriptor, 184, 2)  # write once
        struct.pack_into('<I', descriptor, 192, lbn + 1)
        descriptor[56:96] = bytes(40)  # no record of free space
        seal(descriptor, block)
        volume.put_volume_block(block, descriptor)
    volume.put_maps(file_set,
                    volume.map_header(b'*UDF Virtual Partition', revision) +
                    bytes(24), revision)
    volume.save(target)
