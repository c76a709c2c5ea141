# SPDX-License-Identifier: GPL-3.0-or-later
"""fsync of a small file, alone and beside a large writer."""

import os
import subprocess
import time

import store_bench
from measure import Result, paired

SYNCS = int(os.environ.get('SYNCS', '20'))
ROUNDS = 4


def sync_often(path):
    """Seconds for a number of changes of a small file, each with its fsync."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        began = time.monotonic()
        for number in range(SYNCS):
            os.pwrite(fd, b'%8d' % number * 500, 0)
            os.fsync(fd)
        return time.monotonic() - began
    finally:
        os.close(fd)


class Writer:
    """A process that writes a large file over and over."""

    def __init__(self, path):
        script = 'while "$0" write "$1" "$2"; do :; done'
        self.child = subprocess.Popen(
            ['sh', '-c', script, store_bench.FILE_LOAD, path,
             str(store_bench.VERIFY_BYTES)], stdout=subprocess.DEVNULL,
            start_new_session=True)
        while not os.path.exists(path) or os.stat(path).st_size == 0:
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.child.pid, 9)
        self.child.wait()


def fsync():
    """fsync of a small file, alone by beside a large writer."""
    result = Result('fsync.beside',
                    'fsync of a small file: beside a large writer', None)
    with store_bench.directory() as where:
        device = store_bench.image(os.path.join(where, 'image'),
                                   3 * store_bench.VERIFY_BYTES, True)
        with store_bench.udfd(where, device) as mounted:
            small = os.path.join(mounted.mountpoint, 'small')
            large = os.path.join(mounted.mountpoint, 'large')

            def beside():
                with Writer(large):
                    return sync_often(small)

            sync_often(small)
            paired(result, lambda: sync_often(small), beside, ROUNDS, SYNCS,
                   'fsync')
    return [result]


def needs():
    store_bench.needs()
