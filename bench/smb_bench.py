# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks over SMB: what the module costs, and its control codes.

The client is bench/smb_load.c in the stock smbtorture, one process and one
connection for each of the two that are compared; the server is the stock smbd
with the module of the build directory. The image is in memory where the
machine has /dev/shm, so that no disk hides what smbd and udfd cost.
"""

import contextlib
import os
import subprocess

import rig
from measure import Result, Unavailable, paired

LOAD = os.path.join(rig.BUILD, 'bench', 'smb_load.so')

SHARES = ('udf', 'plain')
# Connections with a smbd each, since two that do the same differ by a few
# percent, and rounds in each.
SESSIONS = int(os.environ.get('SESSIONS', '3'))
ROUNDS = 12
SLICE = 0.1

TRANSFER = 65536
SPAN = 16 << 20
SMALL = 4096

# Brackets on other files, of connections that hold so many each.
BRACKETS = int(os.environ.get('BRACKETS', '100000'))
HOLDERS = 10


class Load:
    """A load generator with its connection; see bench/smb_load.c."""

    def __init__(self, server, share):
        self.child = subprocess.Popen(
            [os.path.join(rig.RIGS, 'smbtorture'), '--suite', LOAD,
             f'//{server.host}/{share}', '-p', str(server.port),
             '-s', server.conf,
             '-U', f'{server.username}%{server.password}',
             'udf_load.serve'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, bufsize=1,
            start_new_session=True)
        self._answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.terminate()
            self.child.wait()
        self.child.stdout.close()

    def _answer(self):
        for line in self.child.stdout:
            words = line.split()
            if words[:1] == ['load:']:
                return words[1:]
        raise RuntimeError('the load generator ended: smbtorture '
                           f'{LOAD} cannot connect')

    def send(self, *words):
        """Give a command; finish() waits for it."""
        self.child.stdin.write(' '.join(str(word) for word in words) + '\n')
        self.child.stdin.flush()

    def finish(self):
        """Seconds that the command took."""
        answer = self._answer()
        if answer[0] != 'done':
            raise RuntimeError(f'the load generator: {answer}')
        return int(answer[1]) / 1e9

    def run(self, *words):
        self.send(*words)
        return self.finish()


@contextlib.contextmanager
def place():
    """A rig with its files in memory, if there is room for them."""
    with contextlib.ExitStack() as stack:
        if 'TMPDIR' not in os.environ and os.path.isdir('/dev/shm'):
            os.environ['TMPDIR'] = '/dev/shm'
            stack.callback(os.environ.pop, 'TMPDIR')
        yield stack.enter_context(rig.Rig())


def two_shares(where, sparable=False):
    """A mount, and a server with a share with the module and one without."""
    mount = where.mount(where.image(megabytes=256, sparable=sparable))
    options = [where.with_module('udf')]
    return where.server({name: mount for name in SHARES}, options)


def count_for(load, words, seconds=SLICE, start=50):
    """How many operations take about so long, in even numbers."""
    spent = load.run(words[0], *[start if word == 'N' else word
                                 for word in words[1:]])
    return max(2, int(start * seconds / max(spent, 1e-6)) // 2 * 2)


def command(words, count):
    return [count if word == 'N' else word for word in words]


def compare(result, base, thing, words, other=None, rounds=ROUNDS,
            unit='op', seconds=SLICE):
    """Rounds of one command (or two) on two connections (or one), which
    take turns in slices of so many seconds."""
    other = other or words
    count = count_for(base, words, seconds)
    paired(result,
           lambda: base.run(*command(words, count)),
           lambda: thing.run(*command(other, count)),
           rounds, count, unit)


# In each session the two connections change files.
def with_sessions(server, shares, work):
    for session in range(SESSIONS):
        with (Load(server, shares[0]) as base,
              Load(server, shares[1]) as thing):
            for number, load in enumerate((base, thing)):
                load.run('open', f'bench{(session + number) % 2}')
                load.run('fill', SPAN)
            work(base, thing)


MODULE_WORK = (
    ('read', 'READ, 64 KiB, sequential', ['read', TRANSFER, 'N', SPAN]),
    ('write', 'WRITE, 64 KiB, sequential', ['write', TRANSFER, 'N', SPAN]),
    ('small-write', 'WRITE, 4 KiB', ['write', SMALL, 'N', SPAN]),
    ('metadata', 'create, query, delete', ['files', 'N']),
)


def module():
    """With the module and without, no bracket anywhere."""
    results = [Result(f'module.{name}', f'{title}: with the module', 0.99)
               for name, title, _ in MODULE_WORK]
    control = Result('module.control', 'WRITE, 4 KiB: without, by itself',
                     note='what this machine makes of two equal things')
    with place() as where:
        server = two_shares(where)

        def work(base, thing):
            for result, (_, _, words) in zip(results, MODULE_WORK):
                compare(result, base, thing, words)

        with_sessions(server, ('plain', 'udf'), work)
        with_sessions(server, ('plain', 'plain'),
                      lambda base, thing: compare(control, base, thing,
                                                  MODULE_WORK[2][2]))
    return results + [control]


FSCTL_WORK = (
    ('purge', 'SET_PURGE_FAILURE_MODE: by ECHO', 0.9, ['purge', 'N']),
    ('defect', 'SET_DEFECT_MANAGEMENT: by ECHO', 0.9, ['defect', 'N']),
    ('sparing', 'QUERY_SPARING_INFO: by ECHO', None, ['sparing', 'N']),
    ('refused', 'a code smbd does not know: by ECHO', None, ['refused', 'N']),
)


def fsctl():
    """A control code's round trip by an ECHO's, on one connection."""
    results = [Result(f'fsctl.{name}', title, target)
               for name, title, target, _ in FSCTL_WORK]
    results[-1].note = ('nothing but smbd and the client: no module can be '
                        'faster than this')
    with place() as where:
        server = two_shares(where, sparable=True)
        for _ in range(SESSIONS):
            with Load(server, 'udf') as load, Load(server, 'plain') as plain:
                load.run('open', 'bench')
                plain.run('open', 'bench2')
                for result, (name, _, _, words) in zip(results, FSCTL_WORK):
                    one = plain if name == 'refused' else load
                    compare(result, one, one, ['echo', 'N'], words)
    return results


def brackets():
    """A write to a file without a bracket, with very many on others."""
    many = Result('brackets.many',
                  f'WRITE, 4 KiB: {BRACKETS} brackets on others', 0.98)
    busy = Result('brackets.busy',
                  'WRITE, 4 KiB: brackets toggled on another', 0.98)
    words = ['write', SMALL, 'N', SPAN]
    each = BRACKETS // HOLDERS
    with place() as where, contextlib.ExitStack() as stack:
        mount = where.mount(where.image(megabytes=1024, sparable=False))
        # Two servers, so two databases, on one mount.
        settings = [f'max open files = {each + 100}']
        # Else smbd reads all names of a directory for each new one.
        options = [where.with_module('udf'), 'udf:case sensitive=yes']
        servers = [where.server({'udf': mount}, options, settings)
                   for _ in range(2)]
        thing = stack.enter_context(Load(servers[1], 'udf'))
        thing.run('open', 'busy')
        thing.run('fill', SPAN)

        # The same process toggles, in the writer's database or in the other.
        togglers = [stack.enter_context(Load(server, 'udf'))
                    for server in servers]
        for number, load in enumerate(togglers):
            load.run('open', f'toggled{number}')

        def beside(toggler):
            def write():
                toggler.send('toggle')
                spent = thing.run(*command(words, count))
                toggler.send('echo', 1)
                toggler.finish()
                toggler.finish()
                return spent
            return write

        count = count_for(thing, words)
        paired(busy, beside(togglers[0]), beside(togglers[1]),
               SESSIONS * ROUNDS, count)
        busy.note = ('base: the toggling goes on in the database of another '
                     'server')

        for number in range(HOLDERS):
            holder = stack.enter_context(Load(servers[1], 'udf'))
            os.mkdir(os.path.join(mount, f'held{number}'))
            holder.run('hold', f'held{number}\\file', each)
        for _ in range(SESSIONS):
            with (Load(servers[0], 'udf') as base,
                  Load(servers[1], 'udf') as thing):
                for number, load in enumerate((base, thing)):
                    load.run('open', f'bench{number}')
                    load.run('fill', SPAN)
                compare(many, base, thing, words)
    return [many, busy]


def needs():
    for path in (rig.UDFD, rig.MODULE, LOAD):
        if not os.path.exists(path):
            raise Unavailable(f'{path} is not built')
    if os.geteuid() != 0:
        raise Unavailable('needs root, to mount and to start smbd')
