# SPDX-License-Identifier: GPL-3.0-or-later
"""A continuously available share for a test: on one smbd, or on a cluster.

A Place is a Rig (tests/samba/rig.py) that also starts tests/rigs/cluster, and
takes it down again however the test ends.
"""

import os
import shlex
import subprocess

import newest  # noqa: F401 (first, since it says what Samba is tested)
import rig

# What persistent handles want of a share and of smbd (docs/FAILOVER.md). Both
# parameters are new in 4.25 and marked as experimental there.
GLOBAL = ['persistent handles = yes', 'kernel oplocks = no',
          'kernel share modes = no', 'posix locking = no']
# In place of a share's path: the volume that moves with the public address.
VOLUME = None
CA = 'continuous availability=yes'


class Cluster:
    """Nodes of tests/rigs/cluster."""

    def __init__(self, directory):
        self.directory = directory
        self.tool = os.path.join(rig.RIGS, 'cluster')

    def say(self, command, *words):
        """A command of the rig: say('kill-node', 1)."""
        return rig.run(self.tool, command, self.directory, *map(str, words))

    def facts(self):
        values = {}
        path = os.path.join(self.directory, 'cluster.env')
        with open(path, encoding='utf-8') as env:
            for word in shlex.split(env.read()):
                name, _, value = word.partition('=')
                values[name] = value
        return values

    def server(self, number):
        """Node `number`, as the functions of rig take a server. Its process
        id is that of the node's main smbd."""
        facts = self.facts()
        pids = self.say('pids', number).split()
        return rig.Server(
            facts[f'HOST{number}'], int(facts['PORT']), facts['USERNAME'],
            facts['PASSWORD'], facts[f'SMB_CONF{number}'], int(pids[0]),
            os.path.join(self.directory, f'n{number}'), facts['USERNAME2'],
            facts['PASSWORD2'])


def start(command):
    """Run it to its end, also when we are interrupted: it takes down what
    it brought up."""
    with subprocess.Popen(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True,
                          errors='replace') as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.terminate()
            process.communicate()
            raise
    if process.returncode != 0:
        raise RuntimeError(f'{shlex.join(command)} failed with '
                           f'{process.returncode}:\n{said}')


class Place(rig.Rig):
    """A Rig with clusters."""

    def cluster(self, shares, options=(), settings=(), nodes=3,
                volume=None):
        """A cluster; the arguments are those of Rig.server(). volume: the
        image of a UDF volume that moves between the nodes."""
        directory = self.path('cluster')
        tool = os.path.join(rig.RIGS, 'cluster')
        command = [tool, 'start', directory, '--nodes', str(nodes),
                   '--parent', str(os.getpid())]
        if volume is not None:
            command += ['--volume', volume]
            os.makedirs(os.path.join(directory, 'volume'))
        for name, path in shares.items():
            if path is VOLUME:
                path = os.path.join(directory, 'volume')
            command += ['--share', f'{name}={path}']
        for option in options:
            command += ['--option', option]
        for setting in settings:
            command += ['--global', setting]
        self.callback(subprocess.run, [tool, 'stop', directory],
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                      check=False)
        start(command)
        return Cluster(directory)
