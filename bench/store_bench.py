# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks of udfd: verified writes, and what a UDF volume costs
against libfuse's passthrough examples on the same disk.

The workloads are bench/file_load.c's. The examples are compiled from what
Debian's libfuse3-dev ships (or from the directory $LIBFUSE_EXAMPLES).
"""

import contextlib
import gzip
import os
import re
import shutil
import subprocess
import tempfile
import time

import rig
from measure import Result, Unavailable, paired

FILE_LOAD = os.path.join(rig.BUILD, 'bench', 'file_load')
EXAMPLES = os.environ.get('LIBFUSE_EXAMPLES',
                          '/usr/share/doc/libfuse3-dev/examples')
SECONDS = 60
# The examples have nothing to save, and passthrough_ll does not always end.
EXAMPLE_SECONDS = 3

MIB = 1 << 20
VERIFY_BYTES = int(os.environ.get('VERIFY_MIB', '256')) * MIB
FILE_BYTES = int(os.environ.get('FILE_MIB', '1024')) * MIB
LISTINGS = 5
FILES = int(os.environ.get('FILES', '10000'))
LARGE_IMAGE = 1 << 40
LARGE_SECONDS = 1.0


def load(workload, path, count):
    """Seconds that file_load took."""
    return int(rig.run(FILE_LOAD, workload, path, str(count))) / 1e9


def list_names(path, count):
    """Seconds for a number of listings of a directory."""
    began = time.monotonic()
    for _ in range(LISTINGS):
        assert len(os.listdir(path)) == count
    return time.monotonic() - began


def is_mounted(path):
    return os.path.ismount(path)


class Daemon:
    """A FUSE daemon in the foreground and its mount; ended with a wait, so
    that what it still writes does not fall into the next measurement."""

    def __init__(self, command, mountpoint, also=(), patience=SECONDS):
        self.mountpoint = mountpoint
        self.patience = patience
        self.child = subprocess.Popen([*command, '-f', *also, mountpoint],
                                      stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL,
                                      start_new_session=True)
        end = time.monotonic() + SECONDS
        while not is_mounted(mountpoint):
            if self.child.poll() is not None or time.monotonic() > end:
                self.child.kill()
                raise RuntimeError(f'{command[0]} does not mount')
            time.sleep(0.001)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(['umount', self.mountpoint], check=False,
                       stderr=subprocess.DEVNULL)
        try:
            self.child.wait(self.patience)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            subprocess.run(['umount', '-l', self.mountpoint], check=False,
                           stderr=subprocess.DEVNULL)

    def memory(self):
        """Most memory it ever used, in MiB."""
        with open(f'/proc/{self.child.pid}/status',
                  encoding='ascii') as file:
            return int(re.search(r'VmHWM:\s*(\d+)', file.read())[1]) / 1024


@contextlib.contextmanager
def directory():
    path = tempfile.mkdtemp(prefix='vfs_udf_bench.')
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def new_directory(*parts):
    path = os.path.join(*parts)
    os.mkdir(path)
    return path


def image(path, size, sparable):
    with open(path, 'wb') as file:
        file.truncate(size)
    command = ['mkudffs', '--media-type=hd', '--blocksize=2048',
               '--udfrev=2.01']
    if sparable:
        command.append('--spartable')
    rig.run(*command, path)
    return path


def udfd(where, device):
    return Daemon([rig.UDFD, device], new_directory(where, 'udfd'))


# ------------------------------------------------------------------- verify

def loop_device(stack, path):
    """A loop device of an image; None if the machine has none."""
    done = subprocess.run(['losetup', '--find', '--show', path],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0:
        return None, ' '.join(done.stderr.split())
    device = done.stdout.strip()
    stack.callback(subprocess.run, ['losetup', '--detach', device],
                   check=False)
    return device, None


def measure_verify(result, where, device):
    with udfd(where, device) as mounted:
        path = os.path.join(mounted.mountpoint, 'stream')

        def write(workload):
            spent = load(workload, path, VERIFY_BYTES)
            os.unlink(path)
            return spent

        # The blocks of the image's file are allocated once.
        write('unmanaged')
        paired(result, lambda: write('unmanaged'), lambda: write('write'),
               5, VERIFY_BYTES // MIB, 'MiB')


def verify():
    """Sequential write and fsync with defect management, by without."""
    results = []
    for name, title in (('file', 'an image file'), ('loop', 'a loop device')):
        result = Result(f'verify.{name}',
                        f'write with management: {title}', 0.45)
        results.append(result)
        with contextlib.ExitStack() as stack:
            where = stack.enter_context(directory())
            device = image(os.path.join(where, 'image'), 3 * VERIFY_BYTES,
                           True)
            if name == 'loop':
                device, why = loop_device(stack, device)
                if device is None:
                    result.skipped = why
                    continue
            measure_verify(result, where, device)
    return results


# -------------------------------------------------------------- passthrough

def compile_example(where, name):
    source = os.path.join(EXAMPLES, f'{name}.c')
    copy = os.path.join(where, f'{name}.c')
    if os.path.exists(source):
        shutil.copy(source, copy)
    elif os.path.exists(source + '.gz'):
        with gzip.open(source + '.gz') as packed, open(copy, 'wb') as file:
            shutil.copyfileobj(packed, file)
    else:
        raise Unavailable(
            f'{source} is missing: it comes with libfuse3-dev; or set '
            'LIBFUSE_EXAMPLES to the examples of libfuse\'s source')
    # The examples include a helper that is beside them.
    for helper in os.listdir(EXAMPLES):
        if helper.startswith('passthrough_helpers'):
            with open(os.path.join(EXAMPLES, helper), 'rb') as packed:
                data = packed.read()
            if helper.endswith('.gz'):
                data = gzip.decompress(data)
            with open(os.path.join(where, 'passthrough_helpers.h'),
                      'wb') as file:
                file.write(data)
    flags = rig.run('pkg-config', '--cflags', '--libs', 'fuse3').split()
    program = os.path.join(where, name)
    rig.run('gcc', '-O2', '-D_FILE_OFFSET_BITS=64', '-o', program, copy,
            *flags)
    return program


class Sides:
    """udfd and the two passthrough examples, each mounted, on one disk."""

    def __init__(self, stack):
        self.where = stack.enter_context(directory())
        backing = new_directory(self.where, 'backing')
        device = image(os.path.join(self.where, 'image'),
                       3 * FILE_BYTES, False)
        self.udfd = stack.enter_context(udfd(self.where, device)).mountpoint
        # The example mirrors the whole root directory.
        mirror = stack.enter_context(Daemon(
            [compile_example(self.where, 'passthrough')],
            new_directory(self.where, 'mirror'), patience=EXAMPLE_SECONDS))
        self.high = mirror.mountpoint + backing
        low = stack.enter_context(Daemon(
            [compile_example(self.where, 'passthrough_ll')],
            new_directory(self.where, 'low'), ['-o', f'source={backing}'],
            EXAMPLE_SECONDS))
        self.low = low.mountpoint

    def bases(self):
        return ('passthrough', self.high), ('passthrough_ll', self.low)


def store():
    """udfd by libfuse's passthrough and passthrough_ll."""
    results = []
    with contextlib.ExitStack() as stack:
        sides = Sides(stack)
        for base_name, base in sides.bases():
            results += sequential(base_name, base, sides.udfd)
            results += names(base_name, base, sides.udfd)
    return results


def target_for(base_name, target):
    """The low-level example is shown; the target names the other one."""
    return target if base_name == 'passthrough' else None


def sequential(base_name, base, thing):
    results = []
    for workload in ('write', 'read'):
        result = Result(f'store.{workload}',
                        f'{FILE_BYTES // MIB} MiB, sequential {workload}: '
                        f'by {base_name}', target_for(base_name, 0.9))
        paths = [os.path.join(side, 'large') for side in (base, thing)]
        for path in paths:
            load('write', path, FILE_BYTES)
        paired(result,
               lambda: load(workload, paths[0], FILE_BYTES),
               lambda: load(workload, paths[1], FILE_BYTES),
               3 if workload == 'write' else 6, FILE_BYTES // MIB, 'MiB')
        results.append(result)
        for path in paths:
            os.unlink(path)
    return results


def names(base_name, base, thing):
    """Create, stat, list, unlink; and names that are not there."""
    workloads = ('create', 'lookup', 'stat', 'list', 'unlink')
    without_target = ('lookup', 'list')
    results = [Result(f'store.{workload}',
                      f'{FILES} files, {workload}: by {base_name}',
                      target_for(base_name,
                                 None if workload in without_target
                                 else 0.8))
               for workload in workloads]
    spent = {side: {workload: [] for workload in workloads}
             for side in (base, thing)}
    rounds = 3
    for _ in range(rounds):
        for side in (base, thing, thing, base):
            path = new_directory(side, 'many')
            for workload in workloads:
                if workload == 'list':
                    seconds = list_names(path, FILES)
                else:
                    seconds = load(workload, path, FILES)
                spent[side][workload].append(seconds)
            os.rmdir(path)
    for result, workload in zip(results, workloads):
        fed = {side: iter(spent[side][workload]) for side in spent}
        paired(result, lambda fed=fed: next(fed[base]),
               lambda fed=fed: next(fed[thing]), rounds, FILES, 'file')
    return results


# -------------------------------------------------------------------- sizes

def directories():
    """A look at each of 10,000 names in one directory, by ten times 1,000."""
    result = Result('directories', f'{FILES} names in one, by tenths of it',
                    0.8, 'lookup is not linear in the size of the directory')
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(directory())
        device = image(os.path.join(where, 'image'), 1 << 30, False)
        mount = stack.enter_context(udfd(where, device)).mountpoint
        large = new_directory(mount, 'large')
        small = new_directory(mount, 'small')
        load('create', large, FILES)
        load('create', small, FILES // 10)
        paired(result,
               lambda: sum(load('lookup', small, FILES // 10)
                           for _ in range(10)),
               lambda: load('lookup', large, FILES), 6, FILES, 'lookup')
    return [result]




def large_volume():
    """The mount of a cleanly closed image of 1 TiB, and its memory."""
    seconds = Result('large.mount', '1 TiB image, closed: mount and list',
                     (LARGE_SECONDS, 's'))
    memory = Result('large.memory', '1 TiB image: most memory that udfd used')
    with directory() as where:
        device = image(os.path.join(where, 'image'), LARGE_IMAGE, False)
        with udfd(where, device) as mounted:
            load('create', mounted.mountpoint, 10)
        os.rmdir(mounted.mountpoint)
        times = []
        for _ in range(3):
            began = time.monotonic()
            with udfd(where, device) as mounted:
                found = len(os.listdir(mounted.mountpoint))
                times.append(time.monotonic() - began)
                if found < 10:
                    raise RuntimeError('the image of 1 TiB lost files')
                # The space bitmap is looked at when something is made.
                os.mkdir(os.path.join(mounted.mountpoint, f'd{len(times)}'))
                used = mounted.memory()
            os.rmdir(mounted.mountpoint)
    seconds.value = (sorted(times)[1], 's')
    memory.value = (used, 'MiB')
    return [seconds, memory]


def million():
    """A million files on a volume: only when asked for, it takes long."""
    count = int(os.environ.get('MILLION', '1000000'))
    each = 10000
    result = Result('million', f'{count} files: stat by the first {each}',
                    None)
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(directory())
        device = image(os.path.join(where, 'image'), 8 << 30, False)
        mount = stack.enter_context(udfd(where, device)).mountpoint
        paths = []
        for number in range(count // each):
            paths.append(new_directory(mount, f'd{number}'))
            load('create', paths[-1], each)
        paired(result, lambda: load('stat', paths[0], each),
               lambda: load('stat', paths[-1], each), 6, each, 'file')
    return [result]


def needs():
    for path in (rig.UDFD, FILE_LOAD):
        if not os.path.exists(path):
            raise Unavailable(f'{path} is not built')
    if os.geteuid() != 0 or not os.path.exists('/dev/fuse'):
        raise Unavailable('needs root and /dev/fuse, to mount')
