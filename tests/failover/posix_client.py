#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client with SMB3 POSIX extensions: Samba's own, from its Python bindings.

posix_client.py CONF HOST PORT USER%PASSWORD SHARE NAME opens NAME to append to
it, says "open", and then for each line that it reads appends its text without
waiting for the ones before, and says the text and the status that it got. It
ends with the end of its input.

Run it in the root of a Samba that has them (4.22 and later).
"""

import sys
import threading

from samba import NTSTATUSError
from samba.credentials import Credentials
from samba.dcerpc import security
from samba.param import LoadParm
from samba.samba3 import libsmb_samba_internal as libsmb
from samba.samba3 import param

MODE = 0o644

# One line at a time.
SAYING = threading.Lock()


def connect(conf, host, port, user, share):
    settings = LoadParm()
    for loaded in (settings, param.get_context()):
        loaded.load(conf)
        loaded.set('client smb transports', f'tcp:{port}')
    credentials = Credentials()
    credentials.guess(settings)
    credentials.parse_string(user)
    return libsmb.Conn(host, share, lp=settings, creds=credentials,
                       multi_threaded=True, posix=True)


def append(connection, handle, text):
    status = 0
    try:
        connection.write(handle, buffer=text.encode(),
                         offset=libsmb.VFS_PWRITE_APPEND_OFFSET)
    except NTSTATUSError as error:
        status = error.args[0]
    with SAYING:
        print(f'{text} {status & 0xFFFFFFFF:08x}', flush=True)


def main():
    conf, host, port, user, share, name = sys.argv[1:]
    connection = connect(conf, host, port, user, share)
    mode = libsmb.unix_mode_to_wire(MODE)
    handle, *_ = connection.create_ex(
        name,
        DesiredAccess=security.SEC_FILE_APPEND_DATA |
        security.SEC_FILE_READ_ATTRIBUTE,
        ShareAccess=libsmb.FILE_SHARE_READ | libsmb.FILE_SHARE_WRITE |
        libsmb.FILE_SHARE_DELETE,
        CreateDisposition=libsmb.FILE_OPEN,
        CreateContexts=[(libsmb.SMB2_CREATE_TAG_POSIX,
                         mode.to_bytes(4, 'little'))])
    print('open' if connection.have_posix() else 'not POSIX', flush=True)
    threads = []
    for line in sys.stdin:
        thread = threading.Thread(target=append,
                                  args=(connection, handle, line.strip()))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    connection.close(handle)


main()
