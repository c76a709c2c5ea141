# SPDX-License-Identifier: GPL-3.0-or-later
"""Every FSCTL_SET_PURGE_FAILURE_MODE counts once, wherever smbd dies.

A client sends ENABLED and DISABLED at random and keeps a ledger. Its smbd is
killed each time: at an exact place of the request (tests/rigs/kill_at: before
or after each of its system calls, so before the store, at each step of it,
between store and reply, after the reply), or at a random time; sometimes
again during the replay, sometimes all of smbd. The client reclaims its handle
and replays what it has no answer to. After each request the count in the
server's database is compared with the ledger; at the end it is taken back,
until that is refused, and must have been as much.

EXACTLY_ONCE_KILLS is how many kills [250], EXACTLY_ONCE_SEED repeats a run.

"Undecidable" is what no server can tell: it died after its reply had left but
before it could note that (the note is not there), and then again before it
could note anything of the next request, which was the same as the last.
"""

import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time

import cases
import durable
import rig
import tdb

wire = durable.smb_client

KILL_AT = os.path.join(rig.BUILD, 'tests', 'rigs', 'kill_at')
MOST = 6
# The handle's time-out in milliseconds, by which its entry is found.
TIMEOUT = 119993


class Run:
    """A client, its ledger, and what became of it."""

    def __init__(self, place, seed):
        self.place = place
        self.random = random.Random(seed)
        self.server = place.start()
        place.fill('ledger')
        self.client = durable.Client(self.server, 'udf')
        self.open()
        self.stops = 200
        self.kills = self.replays = self.lost = self.doubled = 0
        self.undecidable = self.refused = self.full_stops = 0
        # Handles that smbd did not give back, and how many too early.
        self.gone = self.gone_early = 0
        self.where = {'before the reply': 0, 'after it': 0}
        # To what was the last reply, if smbd died before it noted that?
        self.tail = None
        self.notes = []

    def open(self):
        self.handle = self.client.open_durable('ledger', persistent=True,
                                               lease=False, timeout=TIMEOUT)
        self.opened = time.monotonic()
        self.ledger = 0
        # Requests counted through this handle, as its entry numbers them.
        self.serial = 0

    def pid(self):
        return cases.smbd_of(self.server, self.client)

    def send(self, action):
        """One FSCTL: its status, or None when the server has gone."""
        try:
            return self.handle.purge(action)
        except durable.LOST:
            return None

    def come_back(self):
        """Reclaim the handle: True. False, with another one, when smbd has
        lost it."""
        self.client.disconnect()
        try:
            self.client, self.handle = cases.reclaim(
                self.client, self.server, self.handle, 10)
            return True
        except wire.Refused as error:
            age = time.monotonic() - self.opened
            self.gone += 1
            if age < TIMEOUT / 1000:
                self.gone_early += 1
            self.notes.append(f'kill {self.kills}: {error}, opened '
                              f'{age:.0f} s before')
            log = rig.server_log(self.server).splitlines()
            self.notes += [line for line in log[-400:] if 'ledger' in line
                           or 'urable' in line or 'udf' in line][-12:]
        self.client = self.client.again(self.server)
        self.open()
        return False

    def kill(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        rig.wait_until(lambda: not os.path.exists(f'/proc/{pid}'))
        self.kills += 1

    def die_at(self, action, stop):
        """Send it; smbd dies at this stop, or when it is done with it."""
        pid = self.pid()
        with subprocess.Popen([KILL_AT, str(pid), str(stop)],
                              stdout=subprocess.PIPE, text=True) as tracer:
            if tracer.stdout.readline().strip() != 'ready':
                raise RuntimeError('kill_at does not trace smbd')
            status = self.send(action)
            if status is not None:
                time.sleep(0.02)
            self.kill(pid)
            said = tracer.stdout.readline()
        if said.startswith('ended after'):
            self.stops = max(20, int(said.split()[-1]))
        return status, self.is_unnoted(status)

    def die_soon(self, action):
        """Send it; smbd dies at some time from now on."""
        pid = self.pid()

        def later(seconds):
            time.sleep(seconds)
            self.kill(pid)

        thread = threading.Thread(target=later,
                                  args=(self.random.uniform(0, 0.004),))
        thread.start()
        status = self.send(action)
        thread.join()
        return status, self.is_unnoted(status)

    def is_unnoted(self, status):
        """smbd is dead. Had the client a reply that smbd had not noted?"""
        if status is None:
            return False
        path = os.path.join(self.place.home, 'lock', 'udf_replies.tdb')
        database = tdb.open(path, 0, 0, os.O_RDONLY)
        note = database.get(self.handle.fid[:8])
        database.close()
        # reply_note.c: the serial is the last of it.
        noted = struct.unpack('<Q', note[-8:])[0] if note else 0
        return noted < self.serial + 1

    def stop_all(self):
        """All of smbd is killed, and started again."""
        for pid in (self.pid(), self.server.pid):
            os.kill(pid, signal.SIGKILL)
            self.kills += 1
        self.place.stop()
        self.server = self.place.start()
        self.full_stops += 1

    def book(self, action, status):
        if status != wire.SUCCESS:
            self.refused += 1
            self.notes.append(f'kill {self.kills}: status 0x{status:08x}')
            return
        self.ledger += 1 if action == wire.ENABLED else -1
        self.serial += 1

    def stored_count(self):
        """The count in the database (udf_open_state.idl): 12 bytes behind
        the time-out of the only entry."""
        path = os.path.join(self.place.home, 'lock', 'udf_open_state.tdb')
        database = tdb.open(path, 0, 0, os.O_RDONLY)
        values = [database[key] for key in database.keys() if len(key) == 32]
        database.close()
        if not values:
            return 0
        at = values[0].index(struct.pack('<I', TIMEOUT))
        return struct.unpack_from('<I', values[0], at + 12)[0]

    def verify(self, action, ambiguous):
        """Compare the server's count with the ledger, after this request."""
        count = self.stored_count()
        more = count - self.ledger
        if action == wire.DISABLED:
            more = -more
        # What was lost was not given a number, what was doubled two.
        self.serial += more
        if more == -1 and ambiguous:
            self.undecidable += 1
        elif more < 0:
            self.lost -= more
            self.notes.append(f'kill {self.kills}: {-more} lost')
        elif more > 0:
            self.doubled += more
            self.notes.append(f'kill {self.kills}: {more} doubled')
        self.ledger = count

    def step(self):
        """One request, one kill or more."""
        action = wire.DISABLED
        if self.ledger == 0 or (self.ledger < MOST and
                                self.random.random() < 0.5):
            action = wire.ENABLED
        if self.random.random() < 0.5:
            stop = self.random.randrange(1, self.stops + 1)
            status, tail = self.die_at(action, stop)
        else:
            status, tail = self.die_soon(action)
        ambiguous = status is None and self.tail == action
        self.where['before the reply' if status is None
                   else 'after it'] += 1
        if not self.come_back():
            return
        while status is None:
            self.client.replay = True
            self.replays += 1
            if self.random.random() < 0.2:
                status, tail = self.die_soon(action)
                if not self.come_back():
                    return
            else:
                status, tail = self.send(action), False
            self.client.replay = False
        self.tail = action if tail else None
        self.book(action, status)
        self.verify(action, ambiguous)


def main():
    rig.needs(rig.UDFD, rig.MODULE, KILL_AT)
    if not cases.has_persistent_handles():
        rig.skip_all('this Samba has no persistent handles (4.25 has)')
    kills = int(os.environ.get('EXACTLY_ONCE_KILLS') or 250)
    seed = int(os.environ.get('EXACTLY_ONCE_SEED') or time.time())
    tap = rig.Tap()
    tap.note(f'EXACTLY_ONCE_SEED={seed}')
    began = time.monotonic()
    with cases.Place(True) as place:
        run = Run(place, seed)
        full_stop = max(100, kills // 5)
        while run.kills < kills:
            if run.kills // full_stop > run.full_stops:
                run.stop_all()
                run.come_back()
            run.step()
        taken = cases.take_all(run.handle)
        panics = rig.panics(run.server)
    took = time.monotonic() - began
    tap.note(f'{run.kills} kills ({run.full_stops} of all smbds), '
             f'{run.where["before the reply"]} before the reply left, '
             f'{run.where["after it"]} after it; {run.stops} places in a '
             f'request; {took:.0f} s')
    tap.note(f'{run.replays} replays, {run.lost} lost, {run.doubled} '
             f'doubled, {run.undecidable} undecidable, {run.gone} handles '
             'that smbd did not give back any more')
    for text in run.notes[:20]:
        tap.note(text)
    tap.result(run.replays > kills // 10, 'requests were replayed')
    tap.equal(run.lost, 0, 'none was lost')
    tap.equal(run.doubled, 0, 'none was counted twice')
    tap.equal(taken, run.ledger, 'the count can be taken back')
    tap.equal(run.refused, 0, 'none was refused')
    tap.result(run.undecidable <= run.kills // 50,
               'hardly one was undecidable')
    tap.equal(run.gone_early, 0, 'no handle was lost before its time-out')
    tap.equal(panics, [], 'no smbd crashed')
    return tap.done()


sys.exit(main())
