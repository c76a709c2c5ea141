# SPDX-License-Identifier: GPL-3.0-or-later
"""ICBs of ours rewritten to what other systems write: long and extended
allocation descriptors, File Entries on a volume of UDF 2.01."""

import struct

import repartition

AD_SHORT, AD_LONG, AD_EXTENDED = 0, 1, 2
FORM_NAMES = {AD_LONG: 'long', AD_EXTENDED: 'extended'}


def icbs(volume):
    """(lbn, Icb) of all of the partition."""
    for lbn in range(volume.length):
        block = volume.block(lbn)
        if repartition.tag_of(block) in (repartition.TAG_FE,
                                         repartition.TAG_EFE) and \
                struct.unpack_from('<I', block, 12)[0] == lbn:
            yield lbn, repartition.Icb(block)


def encode_ads(extents, form):
    """As many as a foreign writer might make: one for each extent."""
    out = b''
    for word, lbn in extents:
        if form == AD_LONG:
            out += struct.pack('<IIH6x', word, lbn, 0)
        else:
            # ECMA 4/14.14.3: recorded and information length.
            length = word & 0x3FFFFFFF
            recorded = length if word >> 30 == 0 else 0
            out += struct.pack('<IIIIH2x', word, recorded, length, lbn, 0)
    return out


def rewrite_ads(image, block_size, form):
    """Give all ICBs with descriptors another form; how many."""
    volume = repartition.Volume(image, block_size)
    changed = 0
    for lbn, icb in list(icbs(volume)):
        if icb.embedded() or icb.flags & 7 != AD_SHORT:
            continue
        icb.set_ads(form, encode_ads(icb.extents(), form))
        icb.seal(lbn)
        volume.put(lbn, icb.block)
        changed += 1
    with open(image, 'wb') as file:
        file.write(volume.bytes)
    return changed


def to_file_entries(image, block_size):
    """Extended File Entries of files become File Entries; how many."""
    volume = repartition.Volume(image, block_size)
    changed = 0
    for lbn, icb in list(icbs(volume)):
        old = icb.block
        if repartition.tag_of(old) != repartition.TAG_EFE or \
                struct.unpack_from('<I', old, 152)[0] != 0:
            continue
        tail = old[icb.header:icb.ads_at + icb.ad_length]
        new = bytearray(block_size)
        new[:64] = old[:64]
        struct.pack_into('<H', new, 0, repartition.TAG_FE)
        new[64:72] = old[72:80]      # blocks recorded
        new[72:96] = old[80:104]     # access, modification
        new[96:108] = old[116:128]   # attributes
        new[108:112] = old[128:132]  # checkpoint
        new[112:128] = old[136:152]  # extended attribute ICB
        new[128:168] = old[168:208]  # implementation, unique id
        new[168:176] = old[208:216]  # lengths
        new[176:176 + len(tail)] = tail
        repartition.seal(new, lbn, 176 + len(tail) - 16)
        volume.put(lbn, new)
        changed += 1
    with open(image, 'wb') as file:
        file.write(volume.bytes)
    return changed
