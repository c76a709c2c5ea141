# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of this directory share: TAP, and a share to test.

A Rig makes UDF images, mounts them with udfd, starts a private smbd with the
module (tests/rigs/server), runs the stock smbtorture, and takes all of it down
again however the test ends.
"""

import collections
import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.environ.get('TOP') or os.path.abspath(
    os.path.join(os.path.dirname(__file__), '..', '..'))
BUILD = os.environ.get('BUILD') or os.path.join(TOP, 'build')
RIGS = os.path.join(TOP, 'tests', 'rigs')

UDFD = os.path.join(BUILD, 'udf_store', 'udfd')
MODULE = os.path.join(BUILD, 'vfs_module', 'vfs_udf.so')
REST_OF_MODULE = os.path.join(BUILD, 'vfs_module', 'udf', 'module.so')
SUITE = os.path.join(BUILD, 'smbtorture_tests', 'udf.so')

Server = collections.namedtuple(
    'Server', 'host port username password conf pid directory '
    'username2 password2')


class Tap:
    """The Test Anything Protocol, on standard output."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def _line(self, good, name, rest=''):
        self.count += 1
        word = 'ok' if good else 'not ok'
        print(f'{word} {self.count} - {name}{rest}', flush=True)

    def result(self, good, name, *details):
        """One test; the details are printed when it failed."""
        self._line(good, name)
        if not good:
            self.failed += 1
            for detail in details:
                self.note(detail)
        return good

    def equal(self, got, expected, name):
        return self.result(got == expected, name,
                           f'expected {expected!r}', f'got      {got!r}')

    def skip(self, name, reason):
        reason = ' '.join(str(reason).split())
        self._line(True, name, f' # SKIP {reason}')

    @staticmethod
    def note(text):
        for line in str(text).splitlines():
            print(f'# {line}', flush=True)

    def done(self):
        """The plan; returns the exit status."""
        print(f'1..{self.count}', flush=True)
        return 1 if self.failed else 0


def skip_all(reason):
    print(f'1..0 # SKIP {reason}')
    sys.exit(0)


def needs(*files):
    """Skip the whole test where it cannot run; fail it if something that is
    built was not."""
    missing = [name for name in files if not os.path.exists(name)]
    if missing:
        print(f'not ok 1 - {missing[0]} is built\n1..1')
        sys.exit(1)
    if os.geteuid() != 0:
        skip_all('needs root, to mount and to start smbd')
    if not os.path.exists('/dev/fuse'):
        skip_all('/dev/fuse is missing')


def run(*command, **options):
    """Run a command; say all it said if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True,
                          errors='replace', check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f'{shlex.join(command)} failed with '
                           f'{done.returncode}:\n{done.stdout}')
    return done.stdout


def checksum(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def wait_until(condition, seconds=10):
    """Look again and again until condition() is true; False after a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


class Rig(contextlib.ExitStack):
    """A directory for one test, with all that was started in it."""

    def __enter__(self):
        super().__enter__()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))
        self.directory = tempfile.mkdtemp(prefix='vfs_udf_samba.')
        self.callback(shutil.rmtree, self.directory, ignore_errors=True)
        # smbd's users must reach what is below.
        os.chmod(self.directory, 0o755)
        self.numbers = collections.Counter()
        return self

    def path(self, kind):
        """A name in the rig's directory that was not used before."""
        self.numbers[kind] += 1
        return os.path.join(self.directory, f'{kind}{self.numbers[kind]}')

    def plain_directory(self):
        """A directory of the machine's own file system, open to all."""
        path = self.path('plain')
        os.mkdir(path)
        os.chmod(path, 0o777)
        return path

    def image(self, megabytes=96, revision='2.01', block=2048, sparable=True):
        """A UDF image made by mkudffs."""
        path = self.path('image')
        with open(path, 'wb') as file:
            file.truncate(megabytes << 20)
        command = ['mkudffs', '--media-type=hd', f'--blocksize={block}',
                   f'--udfrev={revision}', '--label=vfs_udf']
        if sparable:
            command.append('--spartable')
        run(*command, path)
        return path

    def mount(self, image, *options):
        """Mount an image with udfd, open to all; returns the mount point."""
        path = self.path('mount')
        os.mkdir(path)
        run(UDFD, '-o', 'allow_other', *options, image, path)
        self.callback(self._unmount, path)
        os.chmod(path, 0o777)
        return path

    @staticmethod
    def _unmount(path):
        for command in (['fusermount3', '-u', path], ['umount', '-l', path]):
            done = subprocess.run(command, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, check=False)
            if done.returncode == 0:
                return

    def server(self, shares, options=(), settings=(), under=None,
               installed=None, preload=()):
        """A private smbd.

        shares    {name: path}
        options   'share:parameter=value'
        settings  'parameter = value' of the global section
        under     what runs smbd, valgrind for example
        installed {name: file} of modules that it finds by their names
        preload   objects of tests/rigs that it has besides
        """
        directory = self.path('server')
        command = [os.path.join(RIGS, 'server'), 'start', directory]
        if under is not None:
            command += ['--under', under]
        for name, path in shares.items():
            command += ['--share', f'{name}={path}']
        for option in options:
            command += ['--option', option]
        for setting in settings:
            command += ['--global', setting]
        for name, file in (installed or {}).items():
            command += ['--installed', f'{name}={file}']
        for name in preload:
            command += ['--preload', name]
        self.callback(subprocess.run,
                      [os.path.join(RIGS, 'server'), 'stop', directory],
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                      check=False)
        run(*command)
        return read_server(directory)

    @staticmethod
    def with_module(share):
        """The option that gives a share the module of the build directory."""
        return f'{share}:vfs objects={shlex.quote(MODULE)}'


def read_server(directory):
    """What tests/rigs/server wrote about a server that it started."""
    values = {}
    with open(os.path.join(directory, 'server.env'), encoding='utf-8') as env:
        for word in shlex.split(env.read(), comments=True):
            name, _, value = word.partition('=')
            values[name] = value
    return Server(values['HOST'], int(values['PORT']), values['USERNAME'],
                  values['PASSWORD'], values['SMB_CONF'], int(values['PID']),
                  directory, values['USERNAME2'], values['PASSWORD2'])


def as_ordinary_user(server):
    """The same server for an account that has no privileges."""
    return server._replace(username=server.username2,
                           password=server.password2)


def server_log(server):
    """All that the smbd processes of a server logged."""
    text = ''
    for parent, _, names in os.walk(server.directory):
        for name in names:
            if name.startswith('log') or name.endswith('.log'):
                with open(os.path.join(parent, name), encoding='utf-8',
                          errors='replace') as file:
                    text += file.read()
    return text


def panics(server):
    """What the smbd processes of a server logged of their own crashes."""
    return [line for line in server_log(server).splitlines()
            if 'PANIC' in line or 'INTERNAL ERROR' in line]


def children(pid):
    """The processes that an smbd has for its clients."""
    with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as file:
        return {int(word) for word in file.read().split()}


def udfd_of(mount):
    """The process that has the mount."""
    for name in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{name}/cmdline', 'rb') as file:
                words = os.fsdecode(file.read()).split('\0')
        except OSError:
            continue
        if os.path.basename(words[0]) == 'udfd' and mount in words:
            return int(name)
    raise RuntimeError(f'no udfd has {mount}')


def smbclient(server, share, commands, expect=0):
    """Run smbclient's commands; returns what it said."""
    done = subprocess.run(
        ['smbclient', f'//{server.host}/{share}', '-p', str(server.port),
         '-s', server.conf, '-U', f'{server.username}%{server.password}',
         '-c', commands],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors='replace', check=False)
    if expect is not None and done.returncode != expect:
        raise RuntimeError(f'smbclient {commands!r} ended with '
                           f'{done.returncode}:\n{done.stdout}')
    return done.stdout


Outcome = collections.namedtuple('Outcome', 'word reason')

_START = re.compile(r'^test: (\S+)')
_END = re.compile(r'^(success|failure|error|skip|xfail|uxsuccess): '
                  r'(\S+)( \[)?')


def parse_subunit(text):
    """{name: Outcome} of what smbtorture printed; in order.

    A test that was begun and never ended (smbtorture crashed or was killed)
    is an error.
    """
    outcomes = {}
    name = None
    reason = None
    for line in text.splitlines():
        if reason is not None:
            if line == ']':
                outcomes[name] = Outcome(outcomes[name].word,
                                         '\n'.join(reason))
                reason = None
            else:
                reason.append(line)
            continue
        started = _START.match(line)
        ended = _END.match(line)
        if started:
            outcomes[started.group(1)] = Outcome('error',
                                                 'smbtorture did not end it')
        elif ended:
            name = ended.group(2)
            outcomes[name] = Outcome(ended.group(1), '')
            if ended.group(3):
                reason = []
    return outcomes


def smbtorture(server, share, *tests, options=(), timeout=300):
    """Run suites; returns ({name: Outcome}, all that was printed)."""
    command = [os.path.join(RIGS, 'smbtorture'), '--suite', SUITE,
               f'//{server.host}/{share}', '-p', str(server.port),
               '-s', server.conf, '-U',
               f'{server.username}%{server.password}', '--fullname',
               '--format=subunit']
    command += [f'--option={option}' for option in options]
    command += tests
    with subprocess.Popen(command, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True,
                          errors='replace', start_new_session=True) as child:
        try:
            text, errors = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            text, errors = child.communicate()
            errors += f'\n(killed after {timeout} seconds)\n'
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
    return parse_subunit(text), text + errors


def mapper_option(mount):
    """What lets the suite have files of a mount mapped on the server."""
    mapper = shlex.join([os.path.join(RIGS, 'mapper'), '--directory', mount])
    return f'torture:mapper={mapper}'
