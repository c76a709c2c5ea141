# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of test_kernel_store that runs in the guest: a private smbd that
shares the kernel's mount, and the torture suite. Prints TAP."""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys

from volumes import rig
import client as smb
from scan import Scan, WAITER

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFF_RUNNING = 0x40

UDFCTL = os.path.join(rig.BUILD, 'udf_store', 'udfctl')
LOWER = 0xffffffff
# Three minutes on a quiet machine, for all there is one processor.
SUITE_SECONDS = 800
# What the rig mounts.
DEVICE = '/dev/ubda'


def bring_up_loopback():
    request = struct.pack('16sh22x', b'lo', IFF_UP | IFF_RUNNING)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def check_codes(tap, server):
    """The queries tell what is on the device now; what the kernel's driver
    cannot do is refused, in so many words."""
    with (smb.Client(server, 'udf') as one,
          one.open('codes.dat', smb.ALL, smb.OPEN_IF) as handle):
        status, _ = handle.fsctl(smb.SET_DEFECT, b'\1', 0)
        tap.equal(f'{status:08x}', f'{smb.INVALID_DEVICE_REQUEST:08x}',
                  'SET_DEFECT_MANAGEMENT is refused')
        said = [line for line in rig.server_log(server).splitlines()
                if 'FSCTL_SET_DEFECT_MANAGEMENT is refused' in line]
        tap.result(len(said) == 1 and 'with udfd' in said[0],
                   'with one line in the log, which names udfd', *said)

        status, sparing = handle.fsctl(smb.QUERY_SPARING, b'', 16)
        tap.equal(status, smb.SUCCESS, 'QUERY_SPARING_INFO is answered')
        table = json.loads(subprocess.check_output(
            [UDFCTL, 'sparing', '--json', DEVICE]))
        tap.equal(struct.unpack('<IB3xII', sparing),
                  (table['packet_bytes'], 0, table['total_spare_blocks'],
                   table['free_spare_blocks']),
                  'with the sparing table of the device, and no software '
                  'sparing')

        def counts():
            status, volume = handle.fsctl(smb.QUERY_VOLUME, b'', 336)
            assert status == smb.SUCCESS and len(volume) == 336, status
            return struct.unpack_from('<qq', volume)

        directories, files = counts()
        tap.result(directories >= 1 and files >= 1,
                   'QUERY_ON_DISK_VOLUME_INFO counts directories and files',
                   f'{directories} {files}')
        one.open('another.dat', smb.ALL, smb.OPEN_IF).close()
        tap.equal(counts(), (directories, files + 1),
                  'and sees a file that was made just now')


def check_file_id(tap, server, mount):
    """smbd's file id is made of the volume's identity, not of the number that
    the device has now, and of the inode number."""
    about = json.loads(subprocess.check_output(
        [UDFCTL, 'info', '--json', DEVICE]))
    halves = struct.unpack('<QQ', bytes.fromhex(about['volume_id']))
    inode = os.stat(os.path.join(mount, 'codes.dat')).st_ino
    with (smb.Client(server, 'udf') as one,
          # smbstatus --json of 4.17 dies of one with all rights.
          one.open('codes.dat', smb.READ_DATA)):
        status = json.loads(subprocess.check_output(
            ['smbstatus', '--json', '-s', server.conf]))
    # smbstatus of 4.17 prints the lower 32 bits of a device.
    ids = [(each['fileid']['devid'] & LOWER, each['fileid']['inode'])
           for each in status['open_files'].values()
           if each['filename'] == 'codes.dat']
    tap.equal(ids, [((halves[0] ^ halves[1]) & LOWER, inode)],
              "smbd's file id is of the volume and the inode")


def check_local_scan(tap, server, mount):
    """`udfctl purge` knows this store, too."""
    path = os.path.join(mount, 'scan.dat')
    scan = Scan(server)
    with (smb.Client(server, 'udf') as one,
          one.open('scan.dat', smb.ALL, smb.OPEN_IF) as handle):
        handle.write(0, b's' * 8192)
        with scan.start(*WAITER, path):
            tap.equal([(e['file'], e['by']) for e in scan.status()],
                      [(path, 'run')], 'udfctl purge run: status')
            status = handle.write(0, b'u' * 4096, smb.WRITE_UNBUFFERED)
            tap.equal(f'{status:08x}', f'{smb.PURGE_FAILED:08x}',
                      'udfctl purge run: unbuffered WRITE')
        status = handle.write(0, b'u' * 4096, smb.WRITE_UNBUFFERED)
        tap.equal(status, 0, 'udfctl purge run: it has ended')


def main():
    mount = os.environ['MOUNT']
    bring_up_loopback()
    os.chmod(mount, 0o777)
    tap = rig.Tap()
    with rig.Rig() as place:
        server = place.server({'udf': mount}, [place.with_module('udf')])
        check_codes(tap, server)
        check_file_id(tap, server, mount)
        check_local_scan(tap, server, mount)
        outcomes, said = rig.smbtorture(
            server, 'udf', 'udf', options=[rig.mapper_option(mount)],
            timeout=SUITE_SECONDS)
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
