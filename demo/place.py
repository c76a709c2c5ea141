# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo` and `make run` show: a faulty medium with a UDF volume on
it, udfd, and a private smbd that shares it with our module. All of it is in
one directory, and stop() takes down what start() brought up and nothing else.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), '..'))
BUILD = os.path.abspath(os.environ.get('BUILD') or os.path.join(TOP, 'build'))
RIGS = os.path.join(TOP, 'tests', 'rigs')

UDFD = os.path.join(BUILD, 'udf_store', 'udfd')
UDFCTL = os.path.join(BUILD, 'udf_store', 'udfctl')
MODULE = os.path.join(BUILD, 'vfs_module', 'vfs_udf.so')
SUITE = os.path.join(BUILD, 'smbtorture_tests', 'udf.so')
FAULTDISK = os.path.join(BUILD, 'tests', 'rigs', 'faultdisk')

SHARE = 'udf'
IMAGE_BYTES = 96 << 20
MKUDFFS = ('mkudffs', '--media-type=dvdrw', '--blocksize=2048',
           '--udfrev=2.01', '--label=Archive 7')
WAIT_SECONDS = 15


class Trouble(Exception):
    """One line: what went wrong and what to do."""


def attempt(*words):
    """Run a command to its end, also when we are interrupted: it takes down
    what it brought up. Returns its exit status and what it said."""
    try:
        process = subprocess.Popen(words, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, text=True,
                                   errors='replace')
    except FileNotFoundError:
        raise Trouble(f'{words[0]} is not installed; `make deps` installs '
                      'what is missing') from None
    try:
        said, _ = process.communicate()
    except BaseException:
        process.terminate()
        process.communicate()
        raise
    return process.returncode, said


def command(*words):
    """Run a command; returns what it said, or raises Trouble with it."""
    status, said = attempt(*words)
    if status != 0:
        raise Trouble(f'{shlex.join(words)} failed:\n{said}'.rstrip())
    return said


def check_machine():
    """Say at once what would fail later."""
    if os.geteuid() != 0:
        raise Trouble('needs root, to mount and to start smbd')
    if not os.path.exists('/dev/fuse'):
        raise Trouble('/dev/fuse is missing: load the kernel module fuse')
    for path in (UDFD, UDFCTL, MODULE, FAULTDISK):
        if not os.path.exists(path):
            raise Trouble(f'{path} is not built; `make` builds it')


def end_when_told():
    """SIGTERM and SIGHUP are like Ctrl-C: what was started is taken down."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))


def ignore_signals():
    """Nobody's impatience leaves half of it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def make_image(directory):
    """A new sparable volume; returns its path."""
    image = os.path.join(directory, 'image.udf')
    with open(image, 'wb') as file:
        file.truncate(IMAGE_BYTES)
    command(*MKUDFFS, image)
    return image


def start_time(pid):
    """When a process started, to tell it from a later one of its number."""
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii',
                  errors='replace') as file:
            fields = file.read().rpartition(')')[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in 'ZX' else fields[19]


def is_mounted(path):
    """Also true when the daemon behind the mount is dead."""
    with open('/proc/self/mounts', encoding='utf-8') as file:
        return any(line.split(' ')[1].replace('\\040', ' ') == path
                   for line in file)


def start_mount(words, mountpoint):
    """Start a FUSE daemon that outlives us; returns 'pid:start time'."""
    os.mkdir(mountpoint)
    log = mountpoint + '.log'
    with open(log, 'wb') as out:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=out,
                                   start_new_session=True)
    try:
        wait_for_mount(process, words[0], mountpoint)
    except BaseException:
        process.terminate()
        try:
            process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if is_mounted(mountpoint):
            subprocess.run(['umount', '-l', mountpoint], check=False)
        raise
    return f'{process.pid}:{start_time(process.pid)}'


def wait_for_mount(process, name, mountpoint):
    end = time.monotonic() + WAIT_SECONDS
    while not is_mounted(mountpoint):
        if process.poll() is not None or time.monotonic() > end:
            with open(mountpoint + '.log', encoding='utf-8',
                      errors='replace') as file:
                said = file.read().strip()
            raise Trouble(f'{os.path.basename(name)} does not mount: '
                          f'{said or "no reason was given"}')
        time.sleep(0.02)


def is_running(identity):
    pid, _, started = identity.partition(':')
    return start_time(pid) == started


def wait_for_end(identity):
    """True when the process has ended, by itself or by SIGTERM."""
    pid = int(identity.partition(':')[0])
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None and is_running(identity):
            os.kill(pid, number)
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
            if not is_running(identity):
                return number is None
            time.sleep(0.02)
    return False


def stop_mount(mountpoint, identity):
    """Unmount and wait until the daemon is done with its file."""
    if is_mounted(mountpoint):
        done = subprocess.run(['fusermount3', '-u', mountpoint],
                              stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            subprocess.run(['umount', '-l', mountpoint], check=False)
    return wait_for_end(identity)


class Place:
    """The directory and what runs in it. values are shell assignments."""

    def __init__(self, values=None):
        self.values = values or {}

    def path(self, *names):
        return os.path.join(self.values['DIRECTORY'], *names)

    @property
    def image(self):
        return self.values['IMAGE']

    @property
    def mount(self):
        return self.values['MOUNT']

    def prepare(self):
        """The directory and a fresh volume."""
        self.values['DIRECTORY'] = tempfile.mkdtemp(prefix='vfs_udf.')
        # smbd's users must reach the mount.
        os.chmod(self.path(), 0o755)
        self.values['IMAGE'] = make_image(self.path())

    def start_medium(self):
        medium = self.path('medium')
        self.values['FAULTDISK'] = start_mount(
            [FAULTDISK, '--foreground', self.image, medium], medium)
        self.values['FAULTS'] = os.path.join(medium, 'control')
        self.values['DISK'] = os.path.join(medium, 'disk')

    def start_udfd(self):
        self.values['MOUNT'] = self.path('volume')
        self.values['UDFD'] = start_mount(
            [UDFD, '--foreground', '-o', 'allow_other', self.values['DISK'],
             self.mount], self.mount)

    def start_server(self, *options):
        server = self.path('smbd')
        self.values['SERVER'] = server
        command(os.path.join(RIGS, 'server'), 'start', server,
                '--share', f'{SHARE}={self.mount}',
                '--option', f'{SHARE}:vfs objects={shlex.quote(MODULE)}', *options)
        env = read_env(os.path.join(server, 'server.env'))
        for name in ('HOST', 'PORT', 'USERNAME', 'PASSWORD', 'SMB_CONF',
                     'LOG'):
            self.values[name] = env[name]
        self.values['SHARE'] = SHARE

    def stop_server(self):
        server = self.values.pop('SERVER', None)
        if server:
            command(os.path.join(RIGS, 'server'), 'stop', server)

    def stop_udfd(self):
        """True if udfd ended by itself after the unmount."""
        identity = self.values.pop('UDFD', None)
        return stop_mount(self.mount, identity) if identity else True

    def stop_medium(self):
        identity = self.values.pop('FAULTDISK', None)
        return stop_mount(self.path('medium'), identity) if identity else True

    def stop(self):
        """Take down whatever is up; each part also if another one fails."""
        ignore_signals()
        trouble = None
        for part in (self.stop_server, self.stop_udfd, self.stop_medium):
            try:
                part()
            except (Trouble, OSError) as error:
                trouble = trouble or error
        directory = self.values.pop('DIRECTORY', None)
        if directory:
            mounts = [name for name in ('medium', 'volume') if
                      is_mounted(os.path.join(directory, name))]
            if mounts:
                raise Trouble(f'{directory}/{mounts[0]} is still mounted')
            shutil.rmtree(directory, ignore_errors=True)
        if trouble:
            raise trouble

    def faults(self, *lines):
        """Tell the medium what is wrong with it."""
        with open(self.values['FAULTS'], 'w', encoding='ascii') as file:
            file.write(''.join(f'{line}\n' for line in lines))


def read_env(path):
    """A file of shell assignments."""
    values = {}
    with open(path, encoding='utf-8') as file:
        for word in shlex.split(file.read(), comments=True):
            name, _, value = word.partition('=')
            values[name] = value
    return values


def write_env(path, values):
    text = ''.join(f'{name}={shlex.quote(value)}\n'
                   for name, value in values.items())
    with open(path, 'w', encoding='utf-8',
              opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
