# SPDX-License-Identifier: GPL-3.0-or-later
"""fsync of a small file: alone, beside a large writer, and of many at once."""

import os
import subprocess
import threading
import time

import store_bench
from measure import Result, paired

SYNCS = int(os.environ.get('SYNCS', '20'))
ROUNDS = 4
TOGETHER = 8


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


def together():
    """fsync of many files at once by as many of one: they share flushes."""
    result = Result('fsync.together',
                    f'fsync, {TOGETHER} files at once: one after another',
                    None)
    with store_bench.directory() as where:
        device = store_bench.image(os.path.join(where, 'image'), 64 << 20,
                                   False)
        with store_bench.udfd(where, device) as mounted:
            paths = [os.path.join(mounted.mountpoint, str(number))
                     for number in range(TOGETHER)]

            def one_after_another():
                return sum(sync_often(path) for path in paths)

            def at_once():
                began = time.monotonic()
                threads = [threading.Thread(target=sync_often, args=(path,))
                           for path in paths]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                return time.monotonic() - began

            one_after_another()
            paired(result, one_after_another, at_once, ROUNDS,
                   SYNCS * TOGETHER, 'fsync')
    return [result]


def needs():
    store_bench.needs()
