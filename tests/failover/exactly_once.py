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

What smbd runs on is a Ground: this machine (OneServer here) or a cluster
(test_exactly_once_cluster), where the client comes back through any node and
whole nodes die as well.

EXACTLY_ONCE_KILLS is how many kills [250], EXACTLY_ONCE_SEED repeats a run.
A line "# figures: ..." has what became of them.

smbd may lose a handle, and then the client goes on with another one and a new
ledger. On a cluster a record of smbd's own or of CTDB's may be out of reach
(docs/FAILOVER.md, "What to know of Samba"): what an administrator would do
about it is done, and the client comes back once more.

"Undecidable" is what no server can tell: it died after its reply had left but
before it could note that (the note is not there), and then again before it
could note anything of the next request, which was the same as the last. A
node that dies takes its notes along.
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
# How often a long run says how far it has come.
TELL_KILLS = 100
# The handle's time-out in milliseconds.
TIMEOUT = 120000
# Where an open's entry, which begins with its persistent id, has the count.
COUNT_AT = 80
DATABASE = 'udf_open_state.tdb'
TWIN = 'udf_open_state_persistent.tdb'
NOTES = 'udf_replies.tdb'

# When a kill was, by what smbd had done of the request.
WHEN = ('before the store', 'in the store', 'between store and reply',
        'after the reply')


def read_tdb(path, flags=0):
    """{key: value}; the file may not be there."""
    try:
        database = tdb.open(path, 0, flags, os.O_RDONLY)
    except OSError:
        return {}
    found = {key: database.get(key) for key in database.keys()}
    database.close()
    # Without a lock, one may have gone meanwhile.
    return {key: value for key, value in found.items() if value is not None}


class OneServer:
    """smbd on this machine alone."""

    # The longest that it needs for a request, in seconds.
    window = 0.004
    # And until it gives a handle back.
    reclaim_seconds = 10
    # Until it is looked why it does not.
    patience_seconds = 10

    def __init__(self, place):
        self.place = place
        self.server = place.start()

    def fill(self, name):
        self.place.fill(name)

    def choose(self, _random, _server):
        """Where a client comes back that was at this server."""
        return self.server

    def read(self, name):
        """A database of the module's: {key: value}."""
        return read_tdb(os.path.join(self.place.home, 'lock', name))

    def twins(self):
        """What is on each disk: [{key: value}]."""
        return [self.read(TWIN)]

    def stop_all(self, pid):
        """All of smbd is killed, and started again. Returns how many it
        killed."""
        for number in (pid, self.server.pid):
            os.kill(number, signal.SIGKILL)
        self.place.stop()
        self.server = self.place.start()
        return 2

    def servers(self):
        return [self.server]

    def relieve(self):
        """Look for what is known to keep a client waiting, and end it; lines
        that say what there was. Nothing is known here."""
        return []


class Run:
    """A client, its ledger, and what became of it."""

    def __init__(self, ground, seed):
        self.ground = ground
        self.seed = seed
        self.random = random.Random(seed)
        self.server = ground.servers()[0]
        self.ledgers = 0
        self.start_over()
        self.stops = 200
        self.kills = self.replays = self.lost = self.doubled = 0
        self.undecidable = self.refused = self.full_stops = 0
        # Handles that smbd did not give back, and how many too early.
        self.gone = self.gone_early = 0
        # How often a reclaim had no answer: until a record of smbd's or CTDB's
        # was within reach again, and not even when it was tried again.
        self.relieved = self.unexplained = 0
        self.moves = self.nodes = self.told = 0
        self.when = dict.fromkeys(WHEN, 0)
        self.notes = []

    def start_over(self):
        """Another client with another file: nothing of what was can be in
        its way."""
        self.ledgers += 1
        self.name = f'ledger{self.ledgers}'
        self.ground.fill(self.name)
        self.client = durable.Client(self.server, 'udf')
        self.open()

    def open(self):
        self.handle = self.client.open_durable(self.name, persistent=True,
                                               lease=False, timeout=TIMEOUT)
        self.opened = time.monotonic()
        self.ledger = 0
        # The last one that was counted; and if smbd died before it noted that
        # the reply to it had left, that again.
        self.last = self.tail = None
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
        server = self.ground.choose(self.random, self.server)
        if server.host != self.server.host:
            self.moves += 1
        self.server = server
        for seconds in (self.ground.patience_seconds,
                        self.ground.reclaim_seconds):
            try:
                self.client, self.handle = cases.reclaim(
                    self.client, self.server, self.handle, seconds)
                return True
            except wire.Refused as error:
                self.note_refused(error)
                break
            except durable.LOST as error:
                self.note_unanswered(error)
        else:
            self.unexplained += 1
        self.retry(self.start_over)
        return False

    def note_refused(self, error):
        """smbd does not have the handle any more."""
        age = time.monotonic() - self.opened
        self.gone += 1
        if age < TIMEOUT / 1000:
            self.gone_early += 1
        self.notes.append(f'kill {self.kills}: {error}, opened {age:.0f} s '
                          'before')
        log = rig.server_log(self.server).splitlines()
        self.notes += [line for line in log[-400:] if self.name in line
                       or 'urable' in line or 'udf' in line][-12:]

    def note_unanswered(self, error):
        """smbd does not say whether it has the handle."""
        reasons = self.ground.relieve()
        if reasons:
            self.relieved += 1
        self.notes.append(f'kill {self.kills}: reclaim: {error}')
        self.notes += reasons

    def retry(self, deed):
        """Do it, for as long as a server may need to let it be done."""
        end = time.monotonic() + self.ground.reclaim_seconds
        while True:
            try:
                return deed()
            except (wire.Refused, *durable.LOST):
                if time.monotonic() > end:
                    raise
                self.server = self.ground.choose(self.random, self.server)

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

    def send_while(self, action, deed):
        """Send it, and do a deed soon after."""
        def later(seconds):
            time.sleep(seconds)
            deed()

        thread = threading.Thread(target=later, args=(
            self.random.uniform(0, self.ground.window),))
        thread.start()
        status = self.send(action)
        thread.join()
        return status

    def die_soon(self, action):
        """Send it; smbd dies at some time from now on."""
        pid = self.pid()
        status = self.send_while(action, lambda: self.kill(pid))
        return status, self.is_unnoted(status)

    def is_unnoted(self, status):
        """smbd is dead. Had the client a reply that smbd had not noted?"""
        if status is None:
            return False
        note = self.ground.read(NOTES).get(self.handle.fid[:8])
        # reply_note.c: the serial is the last of it.
        noted = struct.unpack('<Q', note[-8:])[0] if note else 0
        return noted < self.serial + 1

    def stop_all(self):
        """All of smbd is killed, and started again."""
        self.kills += self.ground.stop_all(self.pid())
        self.full_stops += 1

    def book(self, action, status):
        if status != wire.SUCCESS:
            self.refused += 1
            self.notes.append(f'kill {self.kills}: status 0x{status:08x}')
            return
        self.last = action
        self.ledger += 1 if action == wire.ENABLED else -1
        self.serial += 1

    def count_in(self, database):
        """The count of the handle in a database (udf_open_state.idl)."""
        for value in database.values():
            at = value.find(self.handle.fid[:8])
            if at >= 0 and len(value) >= at + COUNT_AT + 4:
                return struct.unpack_from('<I', value, at + COUNT_AT)[0]
        return 0

    def stored_count(self):
        return self.count_in(self.ground.read(DATABASE))

    def note_when(self, status):
        """smbd is dead: how far had it come?"""
        if status is not None:
            when = 'after the reply'
        else:
            changed = {self.count_in(database) != self.ledger
                       for database in (self.ground.read(DATABASE),
                                        *self.ground.twins())}
            when = {(False,): 'before the store',
                    (True,): 'between store and reply'}.get(
                        tuple(changed), 'in the store')
        self.when[when] += 1

    def verify(self, action, ambiguous):
        """Compare the server's count with the ledger, after this request."""
        # CTDB may be at work on the database: what stays wrong is wrong.
        rig.wait_until(lambda: self.stored_count() == self.ledger, 3)
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

    def next_action(self):
        if self.ledger == 0 or (self.ledger < MOST and
                                self.random.random() < 0.5):
            return wire.ENABLED
        return wire.DISABLED

    def step(self):
        """One request, one kill or more."""
        action = self.next_action()
        if self.random.random() < 0.5:
            stop = self.random.randrange(1, self.stops + 1)
            status, tail = self.die_at(action, stop)
        else:
            status, tail = self.die_soon(action)
        ambiguous = status is None and self.tail == action
        self.note_when(status)
        if self.come_back():
            self.finish(action, status, tail, ambiguous)

    def finish(self, action, status, tail, ambiguous):
        """Replay it until it is answered, and compare."""
        while status is None:
            self.client.replay = True
            self.replays += 1
            if self.random.random() < 0.2:
                status, tail = self.die_soon(action)
                alive = False
            else:
                status, tail = self.send(action), False
                alive = status is not None
            if not alive and not self.come_back():
                return
            self.client.replay = False
        self.tail = action if tail else None
        self.book(action, status)
        self.verify(action, ambiguous)

    def figures(self):
        return (f'{self.kills} kills, {self.replays} replays, {self.lost} '
                f'lost, {self.doubled} doubled, {self.undecidable} '
                f'undecidable; {self.gone} handles not given back by smbd, '
                f'{self.relieved} reclaims held up by CTDB or smbd')

    def tell(self, tap):
        """Of a long run, how far it has come."""
        if self.kills >= self.told + TELL_KILLS:
            self.told = self.kills
            tap.note(f'so far: {self.figures()}')

    def report(self, tap, taken, panics, seconds):
        """All figures, and what they have to be."""
        tap.note(f'seed {self.seed}, {seconds:.0f} s, {self.full_stops} kills '
                 f'of all smbds, {self.nodes} of a whole node; of those in a '
                 'request, ' + ', '.join(f'{number} {when}' for when, number
                                         in self.when.items()))
        tap.note(f'{self.stops} places in a request; {self.moves} times back '
                 'through another node')
        tap.note(f'figures: {self.figures()}')
        for text in self.notes[:20]:
            tap.note(text)
        tap.result(self.replays > self.kills // 10, 'requests were replayed')
        tap.equal(self.lost, 0, 'none was lost')
        tap.equal(self.doubled, 0, 'none was counted twice')
        tap.equal(taken, self.ledger, 'the count can be taken back')
        tap.equal(self.refused, 0, 'none was refused')
        # At least one: a few kills do not tell how rare it is.
        tap.result(self.undecidable <= 1 + self.kills // 50 + self.nodes,
                   'hardly one was undecidable')
        tap.equal(self.gone_early, 0,
                  'no handle was lost before its time-out')
        # smbd forgets one every two minutes of such a life.
        tap.result(self.gone <= 2 + seconds / 60,
                   'hardly a handle was not given back')
        tap.equal(self.unexplained, 0,
                  'every reclaim was answered at last')
        tap.result(self.relieved <= 2 + self.kills // 50,
                   'hardly one had to be helped')
        tap.equal(panics, [], 'no smbd crashed')


def asked(default):
    """How many kills, and the seed."""
    kills = int(os.environ.get('EXACTLY_ONCE_KILLS') or default)
    seed = int(os.environ.get('EXACTLY_ONCE_SEED') or time.time())
    return kills, seed


def main():
    rig.needs(rig.UDFD, rig.MODULE, KILL_AT)
    if not cases.has_persistent_handles():
        rig.skip_all('this Samba has no persistent handles (4.25 has)')
    kills, seed = asked(250)
    tap = rig.Tap()
    tap.note(f'EXACTLY_ONCE_SEED={seed}')
    began = time.monotonic()
    with cases.Place(True) as place:
        run = Run(OneServer(place), seed)
        full_stop = max(100, kills // 5)
        while run.kills < kills:
            if run.kills // full_stop > run.full_stops:
                run.stop_all()
                run.come_back()
            run.step()
            run.tell(tap)
        taken = cases.take_all(run.handle)
        panics = rig.panics(run.server)
        run.report(tap, taken, panics, time.monotonic() - began)
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())
