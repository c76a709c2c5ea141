# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that are told, sent, answered and checked. Needs tests/samba on the
path, where the client is."""

import struct

import client as smb
from story import Story, status_name


class Telling:
    def __init__(self):
        self.story = Story()

    def fsctl(self, who, handle, code, given, room, expected):
        self.story.fsctl_request(who, code, given)
        status, data = handle.fsctl(code, given, room)
        rest = f', {len(data)} bytes' if data else ''
        self.story.status(status, expected, rest)
        return data

    def defect(self, who, handle, disable, expected):
        return self.fsctl(who, handle, smb.SET_DEFECT, bytes([disable]), 0,
                          expected)

    def purge(self, who, handle, flags, expected):
        self.fsctl(who, handle, smb.SET_PURGE, struct.pack('<I', flags), 0,
                   expected)

    def write(self, who, handle, offset, data, expected, flags=0):
        kind = ' unbuffered' if flags else ''
        self.story.request(f'{who}:{kind} WRITE of {len(data)} bytes at '
                           f'{offset}')
        status = handle.write(offset, data, flags)
        return self.story.status(status, expected)

    def shrink(self, who, handle, size, expected):
        self.story.request(f'{who}: SET_INFO FileEndOfFileInformation, '
                           f'{size} bytes')
        self.story.status(handle.set_end_of_file(size), expected)

    def attempt(self, chapter, *arguments):
        """A chapter that breaks off is not as expected; the others follow.
        True if it came to its end."""
        try:
            chapter(*arguments)
            return True
        except smb.Refused as refused:
            self.story.expect('every request was answered', False,
                              f'{refused} {status_name(refused.status)}')
        except Exception as error:
            self.story.expect('the chapter comes to its end', False,
                              f'{type(error).__name__}: {error}')
        return False
