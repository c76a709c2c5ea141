# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of test_kernel_store that runs in the guest: a private smbd that
shares the kernel's mount, and the torture suite. Prints TAP."""

import fcntl
import os
import socket
import struct
import sys

from volumes import rig
import client as smb

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFF_RUNNING = 0x40


def bring_up_loopback():
    request = struct.pack('16sh22x', b'lo', IFF_UP | IFF_RUNNING)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def check_refusals(tap, server):
    """What the kernel's driver cannot do is refused, in so many words."""
    requests = (('SET_DEFECT_MANAGEMENT', smb.SET_DEFECT, b'\1', 0),
                ('QUERY_SPARING_INFO', smb.QUERY_SPARING, b'', 16),
                ('QUERY_ON_DISK_VOLUME_INFO', smb.QUERY_VOLUME, b'', 336))
    with (smb.Client(server, 'udf') as one,
          one.open('refused.dat', smb.ALL, smb.OPEN_IF) as handle):
        for name, code, given, room in requests:
            status, _ = handle.fsctl(code, given, room)
            tap.equal(f'{status:08x}', f'{smb.INVALID_DEVICE_REQUEST:08x}',
                      f'{name} is refused')


def main():
    mount = os.environ['MOUNT']
    bring_up_loopback()
    os.chmod(mount, 0o777)
    tap = rig.Tap()
    with rig.Rig() as place:
        server = place.server({'udf': mount}, [place.with_module('udf')])
        check_refusals(tap, server)
        outcomes, said = rig.smbtorture(
            server, 'udf', 'udf.purge', options=[rig.mapper_option(mount)])
        for name, outcome in outcomes.items():
            if outcome.word == 'skip':
                tap.skip(name, outcome.reason)
            else:
                tap.result(outcome.word == 'success', name, outcome.reason)
        tap.result(outcomes and any(outcome.word == 'success' for outcome in
                                    outcomes.values()),
                   'the suite ran', said[-3000:])
        panics = [line for line in rig.server_log(server).splitlines()
                  if 'PANIC' in line or 'INTERNAL ERROR' in line]
        tap.equal(panics, [], 'no smbd panicked')
    return tap.done()


sys.exit(main())
