# SPDX-License-Identifier: GPL-3.0-or-later
"""`udfctl purge`, as the tests of this directory call it."""

import json
import os
import signal
import subprocess

import rig

UDFCTL = os.path.join(rig.BUILD, 'udf_store', 'udfctl')
TOOL = os.path.join(rig.BUILD, 'udf_store', 'udfctl-purge')
# With SAMBA_ROOT, the libraries of that root's Samba.
IN_ROOT = [os.path.join(rig.RIGS, 'in-root'), os.environ['SAMBA_ROOT']] \
    if os.environ.get('SAMBA_ROOT') else []


class Scan:
    """`udfctl purge` for one server's smb.conf."""

    def __init__(self, server):
        self.conf = ['--configfile', server.conf]

    def command(self, sub, *arguments):
        return [*IN_ROOT, UDFCTL, 'purge', sub, *self.conf, *arguments]

    def __call__(self, sub, *arguments, **options):
        """(exit status, standard output, standard error)"""
        done = subprocess.run(self.command(sub, *arguments),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False, timeout=60, **options)
        return done.returncode, done.stdout, done.stderr

    def start(self, *arguments):
        """A `run` whose command says a line and waits for end of input."""
        return Run(self.command('run', *arguments))

    def status(self, *paths):
        code, said, errors = self('status', '--json', *paths)
        if code != 0:
            raise RuntimeError(f'status: {code}: {errors}')
        return json.loads(said)['counted']

    def held(self):
        """What `udfctl status` says is held. Another volume of the machine
        that does not answer (5) is none of the test's business."""
        done = subprocess.run([*IN_ROOT, UDFCTL, '--timeout=5', 'status',
                               *self.conf, '--json'], stdout=subprocess.PIPE,
                              text=True, check=False, timeout=120)
        if done.returncode not in (0, 5):
            raise RuntimeError(f'status: {done.returncode}')
        return json.loads(done.stdout)['held']


class Run:
    def __init__(self, command):
        # Ctrl-C is to be heard, although a test that runs in the background
        # of a shell was told to ignore it.
        heard = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True)
        finally:
            signal.signal(signal.SIGINT, heard)
        self.said = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.end()
        self.process.stdout.close()

    def end(self):
        """Let the command end; the exit status."""
        self.process.stdin.close()
        return self.process.wait(20)

    def command_pid(self):
        return next(iter(rig.children(self.process.pid)))


# Says that it runs, ends with its input; the files are arguments.
WAITER = ['sh', '-c', 'echo "$#"; exec cat >/dev/null', 'sh', '--']
