# SPDX-License-Identifier: GPL-3.0-or-later
"""An SMB3 client that reclaims its handles and replays its requests: what a
Windows client does by itself after it lost its server (MS-SMB2 3.2.4.4,
3.2.5.18), done by hand.

Every request carries the client's channel sequence, which the test counts up
after a failure, and the REPLAY flag if the test says so.
"""

import os
import struct
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'samba'))

import client as smb_client  # noqa: E402
from impacket import nmb, smb3, smb3structs  # noqa: E402

FLAG_REPLAY = 0x20000000
DHANDLE_PERSISTENT = 2
LEASE_READ_HANDLE = 3
# MS-SMB2 2.2.3: leasing, persistent handles.
CAPABILITIES = 0x2 | 0x10

FILE_NOT_AVAILABLE = 0xC0000467
OBJECT_NAME_NOT_FOUND = 0xC0000034

# What tells that the server has gone.
LOST = (nmb.NetBIOSError, nmb.NetBIOSTimeout, ConnectionError, OSError)


class Transport(smb3.SMB3):
    """impacket's client with a client GUID that stays over connections, and
    the capability bits of a client that knows persistent handles."""

    guid = None

    @property
    def ClientGuid(self):  # noqa: N802 (impacket's name)
        return self.guid

    @ClientGuid.setter
    def ClientGuid(self, _):  # noqa: N802
        pass

    def sendSMB(self, packet):  # noqa: N802
        if packet['Command'] == smb3structs.SMB2_NEGOTIATE:
            packet['Data']['Capabilities'] |= CAPABILITIES
        return super().sendSMB(packet)


def context(name, data):
    """A create context (MS-SMB2 2.2.13.2), without Next."""
    head = struct.pack('<IHHHHI', 0, 16, len(name), 0, 24, len(data))
    return head + name + bytes(8 - len(name)) + data


def chain(contexts):
    out = b''
    for number, one in enumerate(contexts):
        if number + 1 < len(contexts):
            one += bytes(-len(one) % 8)
            one = struct.pack('<I', len(one)) + one[4:]
        out += one
    return out


def parse_contexts(data):
    """{name: data} of the contexts of a CREATE response."""
    found = {}
    while len(data) >= 16:
        following, name_at, name_len, _, data_at, data_len = \
            struct.unpack_from('<IHHHHI', data)
        found[data[name_at:name_at + name_len]] = \
            data[data_at:data_at + data_len]
        if following == 0:
            break
        data = data[following:]
    return found


class Handle(smb_client.Handle):
    """A handle that can be reclaimed."""

    def __init__(self, client, fid, name, create_guid, lease_key, granted):
        super().__init__(client, fid)
        self.name = name
        self.create_guid = create_guid
        self.lease_key = lease_key
        self.durable = granted is not None
        self.persistent = bool(granted and granted[1] & DHANDLE_PERSISTENT)
        self.timeout = granted[0] if granted else 0


class Client(smb_client.Client):
    """One that keeps its identity when it connects again."""

    def __init__(self, server, share, guid=None, dialect='3.0.2', timeout=30):
        self.guid = guid or uuid.uuid4().bytes_le
        self.sequence = 0
        self.replay = False
        self.share = share
        kind = type('Transport', (Transport,), {'guid': self.guid})
        self.smb = kind(server.host, server.host, sess_port=server.port,
                        timeout=timeout,
                        preferredDialect=smb_client.DIALECTS[dialect])
        self.session = self.smb._NetBIOSSession
        self.smb.login(server.username, server.password)
        try:
            self.tree = self.call(self.smb.connectTree,
                                  f'\\\\{server.host}\\{share}')
        except smb_client.Refused:
            self.disconnect()
            raise

    def again(self, server):
        """A new connection of the same client."""
        fresh = Client(server, self.share, self.guid)
        fresh.sequence = self.sequence
        return fresh

    def send_only(self, command, body):
        packet = self.smb.SMB_PACKET()
        packet['Command'] = command
        packet['TreeID'] = self.tree
        packet['ChannelSequence'] = self.sequence
        if self.replay:
            packet['Flags'] = FLAG_REPLAY
        packet['Data'] = body
        return self.smb.sendSMB(packet)

    def _create(self, name, access, disposition, options, contexts, lease):
        encoded = name.encode('utf-16-le')
        padded = encoded + bytes(-len(encoded) % 8)
        blob = chain(contexts)
        body = smb3structs.SMB2Create()
        body['RequestedOplockLevel'] = 0xff if lease else 0
        body['ImpersonationLevel'] = 2
        body['DesiredAccess'] = access
        body['FileAttributes'] = 0x80
        body['ShareAccess'] = 7
        body['CreateDisposition'] = disposition
        body['CreateOptions'] = options
        body['NameLength'] = len(encoded)
        body['CreateContextsOffset'] = 64 + 56 + len(padded)
        body['CreateContextsLength'] = len(blob)
        body['Buffer'] = padded + blob
        answer = self.send(smb3structs.SMB2_CREATE, body)
        if answer['Status'] != smb_client.SUCCESS:
            raise smb_client.Refused('CREATE', answer['Status'])
        reply = smb3structs.SMB2Create_Response(answer['Data'])
        start = reply['CreateContextsOffset'] - 64
        blobs = b''
        if reply['CreateContextsLength']:
            data = bytes(answer['Data'])
            blobs = data[start:start + reply['CreateContextsLength']]
        return reply['FileID'].getData(), parse_contexts(blobs)

    @staticmethod
    def _lease(key):
        """The lease context, in a list; none without a key."""
        if key is None:
            return []
        return [context(b'RqLs', key + struct.pack(
            '<IIQ16sHH', LEASE_READ_HANDLE, 0, 0, bytes(16), 0, 0))]

    def open_durable(self, name, access=smb_client.ALL, persistent=False,
                     timeout=0, lease=True, disposition=smb_client.OPEN,
                     options=0):
        """A durable (v2) or persistent handle; timeout in milliseconds. A
        durable one needs the lease."""
        guid = uuid.uuid4().bytes_le
        key = uuid.uuid4().bytes_le if lease else None
        flags = DHANDLE_PERSISTENT if persistent else 0
        wanted = context(b'DH2Q', struct.pack('<IIQ', timeout, flags, 0)
                         + guid)
        fid, given = self._create(name, access, disposition, options,
                                  [wanted, *self._lease(key)], lease)
        granted = given.get(b'DH2Q')
        if granted is not None:
            granted = struct.unpack_from('<II', granted)
        return Handle(self, fid, name, guid, key, granted)

    def reclaim(self, handle):
        """The same handle on this connection; Refused if it is gone."""
        flags = DHANDLE_PERSISTENT if handle.persistent else 0
        wanted = context(b'DH2C', handle.fid + handle.create_guid
                         + struct.pack('<I', flags))
        fid, _ = self._create(handle.name, smb_client.ALL, smb_client.OPEN,
                              0, [wanted, *self._lease(handle.lease_key)],
                              handle.lease_key is not None)
        fresh = Handle(self, fid, handle.name, handle.create_guid,
                       handle.lease_key,
                       (handle.timeout,
                        DHANDLE_PERSISTENT if handle.persistent else 0))
        handle.fid = None
        return fresh
