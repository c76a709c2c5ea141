# SPDX-License-Identifier: GPL-3.0-or-later
"""An SMB2/3 client that has nothing to do with Samba: impacket's.

It sends what a test tells it to, says nothing of its own, and reports each
status as the number that was on the wire.
"""

import collections
import os
import struct

from impacket import nmb, smb3, smb3structs

# The wire, as in include/fsctl_udf.h; repeated here so that a wrong header
# does not go unnoticed.
SET_DEFECT = 0x00098134
QUERY_SPARING = 0x00090138
QUERY_VOLUME = 0x0009013C
SET_PURGE = 0x00090270
REQUEST_RESUME_KEY = 0x00140078
COPYCHUNK = 0x001440F2
ENABLED = 1
DISABLED = 2

SUCCESS = 0x00000000
PENDING = 0x00000103
INVALID_PARAMETER = 0xC000000D
INVALID_DEVICE_REQUEST = 0xC0000010
ACCESS_DENIED = 0xC0000022
BUFFER_TOO_SMALL = 0xC0000023
SHARING_VIOLATION = 0xC0000043
FILE_IS_A_DIRECTORY = 0xC00000BA
NOT_SUPPORTED = 0xC00000BB
CANCELLED = 0xC0000120
FILE_CLOSED = 0xC0000128
USER_MAPPED_FILE = 0xC0000243
PURGE_FAILED = 0xC0000435

READ_DATA = 0x1
WRITE_DATA = 0x2
READ_ATTRIBUTES = 0x80
DELETE = 0x10000
ALL = 0x1F01FF

SUPERSEDE, OPEN, CREATE, OPEN_IF, OVERWRITE, OVERWRITE_IF = range(6)
DIRECTORY_FILE = 0x1
NON_DIRECTORY_FILE = 0x40
DELETE_ON_CLOSE = 0x1000

WRITE_UNBUFFERED = 0x2

OPLOCK_LEASE = 0xFF
LEASE_READ = 0x1
LEASE_HANDLE = 0x2

# 3.1.1 is left to smbclient and smbtorture: bookworm's impacket does not sign
# its tree connect, which a 3.1.1 server refuses.
DIALECTS = {'2.0.2': 0x0202, '2.1': 0x0210, '3.0': 0x0300, '3.0.2': 0x0302}


# SMB2 header (MS-SMB2 2.2.1.1): of an asynchronous response.
Header = collections.namedtuple(
    'Header', 'protocol size charge status command credits flags next '
    'message asynchronous session')
HEADER = struct.Struct('<4sHHIHHIIQQQ')
FLAG_RESPONSE = 0x1
FLAG_ASYNC = 0x2


class Refused(Exception):
    """A request that had to work did not."""

    def __init__(self, what, status):
        super().__init__(f'{what}: status 0x{status:08x}')
        self.status = status


class Handle:
    """An open file or directory of a Client."""

    def __init__(self, client, fid):
        self.client = client
        self.fid = fid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.fid is not None:
            fid, self.fid = self.fid, None
            # impacket's own close() loses count of two opens of one file.
            body = smb3structs.SMB2Close()
            body['FileID'] = fid
            status = self.client.send(smb3structs.SMB2_CLOSE, body)['Status']
            if status != SUCCESS:
                raise Refused('CLOSE', status)

    def _ioctl(self, code, given=b'', room=0, flags=1, **fields):
        body = smb3structs.SMB2Ioctl()
        body['FileID'] = self.fid
        body['CtlCode'] = code
        body['Flags'] = flags
        body['MaxInputResponse'] = 0
        body['MaxOutputResponse'] = room
        body['InputCount'] = len(given)
        body['OutputOffset'] = 0
        body['Buffer'] = given or b'\0'
        if not given:
            body['InputOffset'] = 0
        for name, value in fields.items():
            body[name] = value
        return body

    def fsctl(self, code, given=b'', room=0, flags=1, **fields):
        """One IOCTL: (status, output). fields: others of SMB2Ioctl."""
        body = self._ioctl(code, given, room, flags, **fields)
        answer = self.client.send(smb3structs.SMB2_IOCTL, body)
        if answer['Status'] != SUCCESS:
            return answer['Status'], b''
        reply = smb3structs.SMB2Ioctl_Response(answer['Data'])
        return SUCCESS, bytes(reply['Buffer'][:reply['OutputCount']])

    def copy_chunk_send(self, source, start, to, length):
        """Send a COPYCHUNK from a handle into this one without waiting; its
        message id."""
        key = source.fsctl(REQUEST_RESUME_KEY, room=32)[1][:24]
        chunk = key + struct.pack('<IIqqII', 1, 0, start, to, length, 0)
        body = self._ioctl(COPYCHUNK, chunk, 12)
        return self.client.send_only(smb3structs.SMB2_IOCTL, body)

    def purge(self, flags):
        return self.fsctl(SET_PURGE, struct.pack('<I', flags))[0]

    def defect(self, disable):
        return self.fsctl(SET_DEFECT, bytes([disable]))[0]

    def _write(self, offset, data, flags):
        body = smb3structs.SMB2Write()
        body['FileID'] = self.fid
        body['Length'] = len(data)
        body['Offset'] = offset
        body['WriteChannelInfoOffset'] = 0
        body['Flags'] = flags
        body['Buffer'] = data
        return body

    def write(self, offset, data, flags=0):
        body = self._write(offset, data, flags)
        return self.client.send(smb3structs.SMB2_WRITE, body)['Status']

    def write_send(self, offset, data, flags=0):
        """Send a WRITE without waiting; its message id."""
        body = self._write(offset, data, flags)
        return self.client.send_only(smb3structs.SMB2_WRITE, body)

    def read(self, offset, length):
        body = smb3structs.SMB2Read()
        body['Padding'] = 0x50
        body['FileID'] = self.fid
        body['Length'] = length
        body['Offset'] = offset
        answer = self.client.send(smb3structs.SMB2_READ, body)
        if answer['Status'] != SUCCESS:
            raise Refused('READ', answer['Status'])
        reply = smb3structs.SMB2Read_Response(answer['Data'])
        return bytes(reply['Buffer'][:reply['DataLength']])

    def close_send(self):
        """Send a CLOSE without waiting; its message id."""
        fid, self.fid = self.fid, None
        body = smb3structs.SMB2Close()
        body['FileID'] = fid
        return self.client.send_only(smb3structs.SMB2_CLOSE, body)

    def _set_info(self, info_class, data):
        body = smb3structs.SMB2SetInfo()
        body['FileID'] = self.fid
        body['InfoType'] = 1
        body['FileInfoClass'] = info_class
        body['AdditionalInformation'] = 0
        body['Buffer'] = data
        body['BufferLength'] = len(data)
        return self.client.send_only(smb3structs.SMB2_SET_INFO, body)

    def set_end_of_file(self, size):
        """SET_INFO FileEndOfFileInformation: the status."""
        message = self._set_info(20, struct.pack('<q', size))
        return self.client.smb.recvSMB(message)['Status']

    def rename_send(self, name, replace=False):
        """Send SET_INFO FileRenameInformation without waiting; its message
        id."""
        name = name.encode('utf-16-le')
        return self._set_info(10, struct.pack('<B7xQI', replace, 0, len(name))
                              + name)

    def rename(self, name, replace=False):
        """SET_INFO FileRenameInformation: the status."""
        message = self.rename_send(name, replace)
        return self.client.smb.recvSMB(message)['Status']


class Client:
    """A connection with a session and a tree."""

    def __init__(self, server, share, dialect='3.0.2'):
        self.smb = smb3.SMB3(server.host, server.host,
                             sess_port=server.port, timeout=30,
                             preferredDialect=DIALECTS[dialect])
        self.session = self.smb._NetBIOSSession
        self.smb.login(server.username, server.password)
        try:
            self.tree = self.call(self.smb.connectTree,
                                  f'\\\\{server.host}\\{share}')
        except Refused:
            self.disconnect()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.disconnect()

    def disconnect(self):
        """Drop the connection, as a client that vanishes does."""
        self.smb.close_session()

    @staticmethod
    def call(function, *arguments, **named):
        try:
            return function(*arguments, **named)
        except smb3.SessionError as error:
            raise Refused(function.__name__,
                          error.get_error_code()) from None

    def send_only(self, command, body):
        """A request in the tree; its message id."""
        packet = self.smb.SMB_PACKET()
        packet['Command'] = command
        packet['TreeID'] = self.tree
        packet['Data'] = body
        return self.smb.sendSMB(packet)

    def send(self, command, body):
        """A request in the tree; its answer, whatever the status."""
        return self.smb.recvSMB(self.send_only(command, body))

    def receive_header(self, timeout=30):
        """The next message's header; None after the timeout. Not over 3.0
        and later, where impacket encrypts."""
        try:
            message = self.session.recv_packet(timeout)
        except (nmb.NetBIOSTimeout, nmb.NetBIOSError):
            return None
        return Header(*HEADER.unpack_from(message.get_trailer()))

    def cancel(self, pending):
        """SMB2 CANCEL of a request, by the header of its interim response."""
        header = HEADER.pack(b'\xfeSMB', 64, 0, 0, smb3structs.SMB2_CANCEL, 0,
                             FLAG_ASYNC, 0, pending.message,
                             pending.asynchronous, pending.session)
        self.session.send_packet(
            header + bytes(16) + struct.pack('<HH', 4, 0))

    def open(self, name, access=READ_ATTRIBUTES, disposition=OPEN, options=0,
             share=7, **more):
        attributes = 0x10 if options & DIRECTORY_FILE else 0x80
        fid = self.call(self.smb.create, self.tree, name, access, share,
                        options, disposition, attributes, **more)
        return Handle(self, fid)

    def open_leased(self, name, access):
        """With a lease for reading and for the handle (2.1 and later)."""
        context = smb3structs.SMB2CreateContext()
        context['NameOffset'] = 16
        context['NameLength'] = 4
        context['DataOffset'] = 24
        context['DataLength'] = 32
        context['Buffer'] = (b'RqLs' + bytes(4) + os.urandom(16) +
                             struct.pack('<IIQ', LEASE_READ | LEASE_HANDLE,
                                         0, 0))
        return self.open(name, access, oplockLevel=OPLOCK_LEASE,
                         createContexts=[context])

    def make(self, name, data):
        """A new file with this data."""
        with self.open(name, ALL, OVERWRITE_IF) as handle:
            for offset in range(0, len(data), 65536):
                status = handle.write(offset, data[offset:offset + 65536])
                if status != SUCCESS:
                    raise Refused('WRITE', status)

    def remove(self, name):
        with self.open(name, DELETE, OPEN, DELETE_ON_CLOSE):
            pass

    def file_system(self):
        """FileFsAttributeInformation: (name, attributes, name length)."""
        with self.open('') as root:
            body = smb3structs.SMB2QueryInfo()
            body['FileID'] = root.fid
            body['InfoType'] = 2
            body['FileInfoClass'] = 5
            body['OutputBufferLength'] = 512
            body['AdditionalInformation'] = 0
            body['InputBufferOffset'] = 0
            body['Buffer'] = b'\0'
            answer = self.send(smb3structs.SMB2_QUERY_INFO, body)
        if answer['Status'] != SUCCESS:
            raise Refused('QUERY_INFO', answer['Status'])
        reply = smb3structs.SMB2QueryInfo_Response(answer['Data'])
        data = bytes(reply['Buffer'])
        attributes, component, length = struct.unpack_from('<III', data)
        return (data[12:12 + length].decode('utf-16-le'), attributes,
                component)
