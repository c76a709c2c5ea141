# SPDX-License-Identifier: GPL-3.0-or-later
"""A continuously available share for a test: on one smbd, or on a cluster.

A Place is a Rig (tests/samba/rig.py) that also starts tests/rigs/cluster, and
takes it down again however the test ends.
"""

import collections
import os
import re
import shlex
import struct
import subprocess

import newest  # noqa: F401 (first, since it says what Samba is tested)
import rig
import tdb

# What persistent handles want of a share and of smbd (docs/FAILOVER.md). Both
# parameters are new in 4.25 and marked as experimental there.
PERSISTENT = 'persistent handles = yes'
GLOBAL = [PERSISTENT, 'kernel oplocks = no',
          'kernel share modes = no', 'posix locking = no']
# In place of a share's path: the volume that moves with the public address.
VOLUME = None
CA = 'continuous availability=yes'

DATABASE = 'udf_open_state.tdb'
# Of a file (vfs_module/open_state_db.c).
KEY_LENGTH = 32
# CTDB's, before the data of a record in a node's copy: its sequence number,
# the node that has the data, flags.
HEADER = struct.Struct('<QIIII')
# One of those flags: a process is about to store it on all nodes, and which
# (process id, task, node, number) is before the data.
IN_PROGRESS = 0x2
PROCESS = struct.Struct('<QIIQ')

# A record that a living process has marked so.
Mark = collections.namedtuple('Mark', 'name key pid node')


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

    def records(self, number=0):
        """How many records the module's database has, in memory and on the
        disks, as node `number` sees it."""
        count = 0
        for name in (DATABASE, DATABASE.replace('.tdb', '_persistent.tdb')):
            done = subprocess.run(
                [self.tool, 'exec', self.directory, str(number), 'ctdb',
                 'catdb', name], stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors='replace',
                check=False)
            if done.returncode != 0:
                raise RuntimeError(f'ctdb catdb {name}:\n{done.stdout}')
            # smbd has records of its own there.
            count += len(re.findall(rf'^key\({KEY_LENGTH}\)', done.stdout,
                                    re.M))
        return count

    def copies(self, name):
        """{key: data} of a volatile database, of each record the newest copy
        that any node has. Without a lock: for a time when nothing changes
        it."""
        newest_copies = {}
        for number in range(int(self.facts()['NODES'])):
            path = os.path.join(self.directory, f'n{number}', 'db',
                                'volatile', f'{name}.{number}')
            if not os.path.exists(path):
                continue
            database = tdb.open(path, 0, tdb.NOLOCK, os.O_RDONLY)
            for key in database.keys():
                value = database.get(key) or b''
                if len(value) < HEADER.size:
                    continue
                age = HEADER.unpack_from(value)[0]
                if age >= newest_copies.get(key, (0, b''))[0]:
                    newest_copies[key] = (age, value[HEADER.size:])
            database.close()
        return {key: data for key, (_, data) in newest_copies.items() if data}

    def process(self, number, pid):
        """The process id, as seen here, of a node's smbd; None if it has
        gone."""
        for found in self.say('pids', number).split():
            try:
                with open(f'/proc/{found}/status', encoding='ascii') as file:
                    known = re.search(r'^NSpid:.*?(\d+)$', file.read(), re.M)
            except OSError:
                continue
            if int(known.group(1)) == pid:
                return int(found)
        return None

    @staticmethod
    def title(pid):
        """What a process calls itself: "smbd: scavenger"."""
        try:
            with open(f'/proc/{pid}/cmdline', encoding='utf-8',
                      errors='replace') as file:
                return file.read().replace('\0', ' ').strip()
        except OSError:
            return 'a process that has gone'

    def lost_records(self):
        """What CTDB says of records that its nodes ask each other for."""
        found = []
        for number in range(int(self.facts()['NODES'])):
            log = os.path.join(self.directory, f'n{number}', 'log',
                               'ctdbd.out')
            with open(log, encoding='utf-8', errors='replace') as file:
                found += [line.strip() for line in file
                          if line.startswith('High hopcount')]
        return found

    def marked(self):
        """The records of volatile databases that nobody gets at, since a
        process is about to store them: [Mark]. Without a lock."""
        found = set()
        facts = self.facts()
        for number in range(int(facts['NODES'])):
            directory = os.path.join(self.directory, f'n{number}', 'db',
                                     'volatile')
            for name in os.listdir(directory):
                database = tdb.open(os.path.join(directory, name), 0,
                                    tdb.NOLOCK, os.O_RDONLY)
                for key in database.keys():
                    value = database.get(key) or b''
                    if len(value) < HEADER.size + PROCESS.size:
                        continue
                    _, master, _, flags, _ = HEADER.unpack_from(value)
                    if master != number or not flags & IN_PROGRESS:
                        continue
                    pid, _, node, _ = PROCESS.unpack_from(value, HEADER.size)
                    found.add(Mark(name.rpartition('.')[0], key, pid, node))
                database.close()
        return [mark for mark in found if f'INIT{mark.node}' in facts and
                self.process(mark.node, mark.pid)]


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
