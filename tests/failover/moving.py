# SPDX-License-Identifier: GPL-3.0-or-later
"""A UDF volume that moves between the nodes of a cluster, and what can be seen
of that: for test_volume_moves, demo/failover and bench/takeover_bench.py.

Three nodes with a network of their own share one image; CTDB moves a public
address between them, and with it the volume (ctdb/09.udf.script).
"""

import ctypes
import os
import socket
import subprocess
import threading
import time

import cluster
import rig
import cases
import durable

CLONE_NEWNET = 0x40000000
SHARE = 'udf'
NODES = 3
PIECE = 50000
PROBE_SECONDS = 0.2
MOVE_SECONDS = 60


def enter_network(pid):
    """This thread, and what it starts, goes to where the clients are."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f'/proc/{pid}/ns/net', encoding='ascii') as network:
        if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), 'setns')


class Moving:
    """The three nodes; place is a cluster.Place, which ends them."""

    def __init__(self, place):
        self.image = place.image()
        self.nodes = place.cluster(
            {SHARE: cluster.VOLUME},
            [place.with_module(SHARE), f'{SHARE}:{cluster.CA}',
             f'{SHARE}:sync always=yes'], cluster.GLOBAL, nodes=NODES,
            volume=self.image)
        self.mountpoint = os.path.join(self.nodes.directory, 'volume')
        self.read_facts()
        enter_network(self.facts['LAN'])
        self.server = self.nodes.server(0)._replace(host=self.public)

    def read_facts(self):
        """What is known of the nodes; again after one was started."""
        self.facts = self.nodes.facts()
        self.public = self.facts['PUBLIC']

    def _read(self, number, path):
        """A file of /proc of a node's first process; empty if it is down."""
        pid = self.facts.get(f'INIT{number}')
        try:
            with open(f'/proc/{pid}/{path}', encoding='utf-8') as file:
                return file.read()
        except OSError:
            return ''

    def mounted(self):
        """The nodes that have the volume mounted."""
        return [number for number in range(NODES)
                if f'{self.image} ' in self._read(number, 'mounts')]

    def addressed(self):
        """The nodes that have the public address."""
        return [number for number in range(NODES)
                if self.public in self._read(number, 'net/fib_trie').split()]

    def wait_for_holders(self, seconds=20):
        """The nodes that have both, once there is one."""
        rig.wait_until(lambda: self.mounted() and
                       self.mounted() == self.addressed(), seconds)
        return self.mounted()

    def inside(self, number, *words):
        """Run a command in a node: (exit status, what it said)."""
        done = subprocess.run(
            [self.nodes.tool, 'exec', self.nodes.directory, str(number),
             *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors='replace', check=False)
        return done.returncode, done.stdout

    def mount_also(self, number):
        """Try to mount the volume on one more node."""
        return self.inside(number, rig.UDFD, self.image, self.mountpoint)

    def file(self, number, name):
        """A file of the volume, as a node has it."""
        pid = self.facts[f'INIT{number}']
        return f'/proc/{pid}/root{self.mountpoint}/{name}'

    def connect(self):
        return durable.Client(self.server, SHARE)

    def cut_power(self, number):
        """A node dies; the time, of time.monotonic(), when it did."""
        died = float(self.nodes.say('kill-node', number))
        self.read_facts()
        return died

    def start_again(self, number):
        self.nodes.say('restart', number)
        self.read_facts()


# What a surviving ctdbd says, of which Watch notes when.
LOG_LINES = (('dead', ' is dead:'), ('recovered', 'Recovery has finished'))


class Watch(threading.Thread):
    """Notes when another node has come so far; to be started before a node
    dies. seen: {event: time.monotonic()}

    dead       CTDB has noticed that the node is
    recovered  its databases are whole again
    mounted    the volume is mounted on another node
    addressed  the public address is up there
    """

    def __init__(self, moving, before, tell=lambda event: None):
        super().__init__(daemon=True)
        self.moving = moving
        self.before = before
        self.tell = tell
        self.seen = {}
        self.ended = threading.Event()
        self.logs = []

    def __enter__(self):
        for number in range(NODES):
            if number != self.before:
                path = os.path.join(self.moving.nodes.directory,
                                    f'n{number}', 'log', 'ctdbd.out')
                # pylint: disable=consider-using-with
                log = open(path, encoding='utf-8', errors='replace')
                log.seek(0, os.SEEK_END)
                self.logs.append(log)
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()
        for log in self.logs:
            log.close()

    def _note(self, event):
        if event not in self.seen:
            self.seen[event] = time.monotonic()
            self.tell(event)

    def _elsewhere(self, nodes):
        return any(number != self.before for number in nodes)

    def _read_logs(self):
        for log in self.logs:
            said = log.read()
            for event, words in LOG_LINES:
                if words in said:
                    self._note(event)

    def run(self):
        while not self.ended.wait(0.005):
            self._read_logs()
            if 'mounted' not in self.seen:
                if self._elsewhere(self.moving.mounted()):
                    self._note('mounted')
            elif 'addressed' not in self.seen:
                if self._elsewhere(self.moving.addressed()):
                    self._note('addressed')


def wait_for_server(server, seconds=MOVE_SECONDS):
    """Until somebody listens at the address. Tries often, since a try that
    comes too early is repeated by TCP only after seconds."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((server.host, server.port),
                                     PROBE_SECONDS).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise


def come_back(client, server, handle):
    """Connect again, as soon as that can be, and reclaim the handle:
    (client, handle, when somebody listened again)."""
    wait_for_server(server)
    listened = time.monotonic()
    return *cases.reclaim(client, server, handle, MOVE_SECONDS), listened


def write_all(handle, data):
    """The status of the first WRITE that fails, or SUCCESS."""
    for offset in range(0, len(data), PIECE):
        status = handle.write(offset, data[offset:offset + PIECE])
        if status != durable.smb_client.SUCCESS:
            return status
    return durable.smb_client.SUCCESS


def read_all(handle, size):
    return b''.join(handle.read(offset, min(PIECE, size - offset))
                    for offset in range(0, size, PIECE))
