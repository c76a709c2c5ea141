# SPDX-License-Identifier: GPL-3.0-or-later
"""A reclaimed handle has the count and the flag that were acknowledged; while
nobody has it, it counts; after its time-out it is gone. Run by test_reclaim
(the newest Samba, with persistent handles) and test_reclaim_installed (the
machine's own, orderly disconnects of durable handles)."""

import os
import signal
import struct
import subprocess
import sys
import time

import cases
import durable
import rig
import tdb

wire = durable.smb_client

DATABASE = 'udf_open_state.tdb'
# Where the records of disconnected handles are without persistent ones.
KEPT = 'udf_open_state_disconnected.tdb'
# Samba's header of a record that may have a twin on disk.
TWIN_HEADER = 16
# TDB_MUTEX_LOCKING of tdb.h, which the module tdb does not name.
MUTEX_LOCKING = 4096
# How smbd opens the database.
OPEN_FLAGS = (tdb.CLEAR_IF_FIRST | tdb.INCOMPATIBLE_HASH | tdb.SEQNUM |
              MUTEX_LOCKING)
# The header that Samba puts before a record with watchers: none of them.
NO_WATCHERS = bytes(4)

REVISION_MISMATCH = 0xC0000059

# Where an open has its flags in a record with one (open_record_ndr.c), and
# which of them says that nobody has it.
FLAGS_AT = 24 + 64
DISCONNECTED = 0x80
DISCONNECT_TIME_AT = FLAGS_AT + 8
# More than the time-out of a handle whose client asked for none (60).
LATE_SECONDS = 300

# The time-out of an open whose record is damaged meanwhile.
AWAY_SECONDS = 4

# More than a database has room for without growing.
FULL_OPENS = 250


def records(place, name=DATABASE):
    """The files with a record, of a server that is not clustered."""
    path = os.path.join(place.home, 'lock', name)
    done = subprocess.run(['tdbtool', path, 'keys'], stdout=subprocess.PIPE,
                          text=True, check=True)
    return [line for line in done.stdout.splitlines() if '32 bytes' in line]


def mapped(place, name):
    """A local process that has the file mapped; a context manager."""
    path = place.file(name)
    program = ('import mmap,sys,time\n'
               'f=open(sys.argv[1],"rb")\n'
               'm=mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ)\n'
               'sum(m[i] for i in range(0,len(m),4096))\n'
               'print("mapped",flush=True)\ntime.sleep(1000)\n')
    child = subprocess.Popen(['/usr/bin/python3', '-c', program, path],
                             stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    return child


def open_other(server, name):
    """Another client with the file open."""
    other = wire.Client(server, 'udf')
    return other, other.open(name, wire.ALL)


def check_orderly(tap, place, server):
    """The connection ends; the last smbd with the database open goes too."""
    place.fill('orderly')
    client = durable.Client(server, 'udf')
    handle = client.open_durable('orderly', persistent=place.persistent)
    tap.result(handle.durable, 'the handle is durable')
    tap.equal(handle.defect(1), wire.SUCCESS, 'orderly: the flag is set')
    statuses = [handle.purge(wire.ENABLED) for _ in range(3)]
    tap.equal(statuses, [wire.SUCCESS] * 3, 'orderly: three brackets')
    pid = cases.smbd_of(server, client)
    client.disconnect()
    rig.wait_until(lambda: not os.path.exists(f'/proc/{pid}'))
    tap.result(not cases.defect_disabled(place.file('orderly')),
               'orderly: the flag is off while nobody has the handle')
    if not place.persistent:
        tap.equal(len(records(place, KEPT)), 1,
                  'orderly: kept for when nobody has the database open')

    client, handle = cases.reclaim(client, server, handle)
    tap.result(cases.defect_disabled(place.file('orderly')),
               'orderly: the flag is back')
    tap.equal(cases.take_all(handle), 3, 'orderly: the count is back')
    handle.close()
    client.disconnect()
    tap.result(rig.wait_until(lambda: not records(place)),
               'orderly: nothing is left after the close')
    if not place.persistent:
        tap.equal(records(place, KEPT), [], 'orderly: nor kept')


def check_timed_out(tap, place, server):
    """Nobody comes back: it counts, and then it does not."""
    place.fill('late')
    client = durable.Client(server, 'udf')
    handle = client.open_durable('late', persistent=place.persistent,
                                 timeout=2000)
    handle.purge(wire.ENABLED)
    other, other_handle = open_other(server, 'late')
    began = time.monotonic()
    client.disconnect()
    time.sleep(0.5)
    tap.equal(other_handle.set_end_of_file(100), wire.PURGE_FAILED,
              'timed out: it counts while nobody has it')
    good = rig.wait_until(lambda: other_handle.set_end_of_file(100) ==
                          wire.SUCCESS, 15)
    took = time.monotonic() - began
    tap.result(good and took >= 2, 'timed out: then it is gone',
               f'after {took:.1f} s')
    tap.result(rig.wait_until(lambda: not records(place), 15),
               'timed out: with its record')
    if not place.persistent:
        tap.equal(records(place, KEPT), [], 'timed out: which is not kept')
    try:
        cases.reclaim(client, server, handle, 0)
        tap.result(False, 'timed out: no reclaim any more')
    except wire.Refused as error:
        tap.equal(error.status, durable.OBJECT_NAME_NOT_FOUND,
                  'timed out: no reclaim any more')
    other.disconnect()


def check_killed(tap, place, server):
    """smbd is killed: the other client sees the sum all the time."""
    place.fill('killed')
    client = durable.Client(server, 'udf')
    handle = client.open_durable('killed', persistent=True)
    tap.result(handle.persistent, 'killed: the handle is persistent')
    statuses = [handle.defect(1)]
    statuses += [handle.purge(wire.ENABLED) for _ in range(3)]
    tap.equal(statuses, [wire.SUCCESS] * 4, 'killed: flag, three brackets')
    other, other_handle = open_other(server, 'killed')
    cases.kill_and_wait(cases.smbd_of(server, client))
    tap.equal(other_handle.set_end_of_file(100), wire.PURGE_FAILED,
              'killed: the sum is seen while nobody has it')
    client, handle = cases.reclaim(client, server, handle)
    tap.equal(other_handle.set_end_of_file(100), wire.PURGE_FAILED,
              'killed: and after the reclaim')
    tap.result(cases.defect_disabled(place.file('killed')),
               'killed: the flag is back')
    cases.kill_and_wait(cases.smbd_of(server, client))
    client, handle = cases.reclaim(client, server, handle)
    tap.equal(cases.take_all(handle), 3,
              'killed: the count is back, the second time too')
    tap.equal(other_handle.set_end_of_file(100), wire.SUCCESS,
              'killed: no count any more')
    handle.close()
    other.disconnect()
    client.disconnect()
    tap.result(rig.wait_until(lambda: not records(place)),
               'killed: nothing is left after the close')


def check_killed_late(tap, place, server):
    """smbd is killed and nobody comes back: a held write goes on then."""
    data = b'y' * 4096
    place.fill('gone')
    client = durable.Client(server, 'udf')
    handle = client.open_durable('gone', persistent=True, timeout=2000)
    handle.purge(wire.ENABLED)
    other, other_handle = open_other(server, 'gone')
    child = mapped(place, 'gone')
    try:
        cases.kill_and_wait(cases.smbd_of(server, client))
        began = time.monotonic()
        status = other_handle.write(0, data)
        took = time.monotonic() - began
    finally:
        child.kill()
        child.wait()
    tap.equal(status, wire.SUCCESS, 'killed for good: the write is done')
    tap.result(1.5 <= took < 15, 'killed for good: after the time-out',
               f'after {took:.1f} s')
    tap.result(rig.wait_until(lambda: not records(place), 15),
               'killed for good: nothing is left')
    other.disconnect()


def cleanupd_of(server):
    """smbd's process that cleans up after its dead siblings."""
    for name in os.listdir('/proc'):
        try:
            with open(f'/proc/{name}/stat', encoding='utf-8',
                      errors='replace') as file:
                comm, rest = file.read().split('(', 1)[1].rsplit(')', 1)
        except (OSError, IndexError):
            continue
        if comm.startswith('smbd-cleanupd') and \
                int(rest.split()[1]) == server.pid:
            return int(name)
    raise RuntimeError('no smbd-cleanupd')


def check_killed_again(tap, place, server):
    """smbd is killed, the handle reclaimed, and smbd killed again: the module
    has started no clock with the first death that ends the handle after the
    second. smbd itself does (docs/FAILOVER.md), when its cleanupd learns of
    the death: it is stopped meanwhile."""
    timeout = 8
    place.fill('again')
    client = durable.Client(server, 'udf')
    handle = client.open_durable('again', persistent=True, lease=False,
                                 timeout=timeout * 1000)
    handle.purge(wire.ENABLED)
    # Open already: an open now would have smbd start that clock as well.
    other, other_handle = open_other(server, 'again')
    cleanupd = cleanupd_of(server)
    os.kill(cleanupd, signal.SIGSTOP)
    try:
        cases.kill_and_wait(cases.smbd_of(server, client))
        began = time.monotonic()
        tap.equal(other_handle.set_end_of_file(100), wire.PURGE_FAILED,
                  'killed again: the sum is seen')
        time.sleep(0.5)
        client, handle = cases.reclaim(client, server, handle)
        time.sleep(max(0, began + timeout - 3 - time.monotonic()))
        cases.kill_and_wait(cases.smbd_of(server, client))
        time.sleep(max(0, began + timeout + 1.5 - time.monotonic()))
        try:
            client, handle = cases.reclaim(client, server, handle, 0)
            tap.equal(cases.take_all(handle), 1,
                      'killed again: the handle and its count are back')
            handle.close()
        except wire.Refused as error:
            tap.result(False,
                       'killed again: the handle and its count are back',
                       error)
    finally:
        os.kill(cleanupd, signal.SIGCONT)
    other.disconnect()
    client.disconnect()


def check_stopped(tap, place, server):
    """All of smbd is killed, the volume moves, and smbd is started again."""
    place.fill('stopped')
    client = durable.Client(server, 'udf')
    # Without a lease: smbd 4.25 forgets leases when it is stopped, and panics
    # when another client then opens a file of which it has a lease's handle.
    handle = client.open_durable('stopped', persistent=True, lease=False)
    handle.defect(1)
    for _ in range(3):
        handle.purge(wire.ENABLED)
    pids = [cases.smbd_of(server, client), server.pid]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    place.stop()
    tap.result(place.mount_again(), 'stopped: the volume has moved')
    server = place.start()
    tap.result(len(records(place)) == 1,
               'stopped: the record is there after the start')
    client, handle = cases.reclaim(client, server, handle)
    tap.result(cases.defect_disabled(place.file('stopped')),
               'stopped: the flag is back')
    tap.equal(cases.take_all(handle), 3, 'stopped: the count is back')
    handle.close()
    client.disconnect()
    return server


def check_suite(tap, server, share, may_skip):
    """The torture suite, but what the share does not offer."""
    outcomes, text = rig.smbtorture(server, share, 'udf.failover')
    ran = 0
    for name, outcome in outcomes.items():
        if outcome.word == 'success':
            ran += 1
            tap.result(True, f'{name} on {share}')
        elif outcome.word == 'skip' and may_skip in outcome.reason:
            tap.skip(f'{name} on {share}', outcome.reason)
        else:
            tap.result(False, f'{name} on {share}',
                       f'{outcome.word}: {outcome.reason}')
    tap.result(ran >= 3, f'udf.failover ran on {share}', text[-2000:])


def check_told(tap, server):
    """The lock directory is in memory; another client comes."""
    wire.Client(server, 'udf').disconnect()
    lines = [line for line in rig.server_log(server).splitlines()
             if 'is in memory' in line]
    tap.result(len(lines) == 1, 'full: a lock directory in memory is told',
              *lines)
    tap.result(lines and "'lock directory'" in lines[0],
               'full: and what to set')


def check_unstored(tap, place):
    """A disk that is full: what cannot be stored is refused and not done."""
    lock = os.path.join(place.home, 'lock')
    os.makedirs(lock, exist_ok=True)
    rig.run('mount', '-t', 'tmpfs', '-o', 'size=48m', 'udf-lock', lock)
    place.callback(rig.run, 'umount', '-l', lock)
    server = place.start()
    client = durable.Client(server, 'udf')
    handles = []
    for number in range(FULL_OPENS):
        name = f'full{number}'
        place.fill(name, b'x')
        handles.append(client.open_durable(name, persistent=True,
                                           lease=False))
    if place.persistent:
        check_told(tap, server)
    ballast = os.path.join(lock, 'ballast')
    with open(ballast, 'wb', buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    statuses = [handle.purge(wire.ENABLED) for handle in handles]
    refused = [handle for handle, status in zip(handles, statuses)
               if status != wire.SUCCESS]
    tap.result(bool(refused), 'full: stores are refused',
               f'all of {FULL_OPENS} had room')
    os.unlink(ballast)
    counts = [cases.take_all(handle) for handle in refused]
    tap.equal(sum(counts), 0, 'full: and none of them counted')
    kept = [handle for handle, status in zip(handles, statuses)
            if status == wire.SUCCESS]
    counts = [cases.take_all(handle) for handle in kept]
    tap.equal(sum(counts), len(kept), 'full: the others did')
    tap.equal({handle.purge(wire.ENABLED) for handle in refused},
              {wire.SUCCESS}, 'full: and now they can')
    client.disconnect()
    place.stop()


def check_joined(tap, place):
    """The database as a process has opened it that has no use of mutexes
    (dbwrap_tdb_mutexes in smb.conf)."""
    lock = os.path.join(place.home, 'lock')
    os.makedirs(lock, exist_ok=True)
    program = ('import os,sys,tdb\n'
               'd=tdb.open(sys.argv[1],0,int(sys.argv[2]),'
               'os.O_RDWR|os.O_CREAT)\n'
               'print("open",flush=True)\nsys.stdin.read()\n')
    with subprocess.Popen(['/usr/bin/python3', '-c', program,
                           os.path.join(lock, DATABASE),
                           str(OPEN_FLAGS & ~MUTEX_LOCKING)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as other:
        tap.equal(other.stdout.readline(), 'open\n', 'joined: it is open')
        server = place.start()
        place.fill('joined')
        client = durable.Client(server, 'udf')
        handle = client.open_durable('joined', persistent=True)
        tap.equal(handle.purge(wire.ENABLED), wire.SUCCESS, 'joined: counted')
        cases.kill_and_wait(cases.smbd_of(server, client))
        client, handle = cases.reclaim(client, server, handle)
        tap.equal(cases.take_all(handle), 1, 'joined: reclaimed')
        handle.close()
        client.disconnect()
        other.stdin.close()


def check_record(tap, place, server, persistent):
    """Records that a newer release wrote, or that are damaged."""
    for name, damage in (
            ('newer', newer_version),
            ('damaged', lambda value: value[:len(value) // 2]),
            ('garbage', lambda value: NO_WATCHERS + os.urandom(90)),
            ('short count', lambda value: absurd(value, 1, 0xFFFFFFFF)),
            ('absurd size', lambda value: absurd(value, 0x7FFFFFFF,
                                                 0x7FFFFFFF)),
            ('large size', lambda value: absurd(value, 1000000, 1000000))):
        place.fill(name)
        client = durable.Client(server, 'udf')
        handle = client.open_durable(name, persistent=persistent)
        tap.equal(handle.persistent, persistent, f'{name}: a handle')
        database = tdb.open(os.path.join(place.home, 'lock', DATABASE), 0,
                            OPEN_FLAGS, os.O_RDWR)
        before = set(database.keys())
        tap.equal(handle.purge(wire.ENABLED), wire.SUCCESS,
                  f'{name}: a good record')
        key, = set(database.keys()) - before
        head = TWIN_HEADER if persistent else 0
        stored = database[key]
        changed = stored[:head] + damage(stored[head:])
        database[key] = changed
        status = handle.purge(wire.ENABLED)
        tap.result(status != wire.SUCCESS, f'{name}: refused', hex(status))
        if name == 'newer':
            tap.equal(status, REVISION_MISMATCH, f'{name}: and why')
        tap.equal(database[key], changed, f'{name}: left alone')
        tap.equal(handle.set_end_of_file(5), wire.PURGE_FAILED,
                  f'{name}: taken for counted')
        tap.result(len(handle.read(0, 10)) == 10, f'{name}: smbd lives')
        del database[key]
        tap.equal(handle.purge(wire.ENABLED), wire.SUCCESS,
                  f'{name}: good again when it is removed')
        if persistent:
            database[key] = changed
            cases.kill_and_wait(cases.smbd_of(server, client))
            check_refused_reclaim(tap, server, client, handle)
            tap.equal(database[key], changed,
                      f'{name}: left alone by a reclaim')
            del database[key]
        else:
            handle.close()
        client.disconnect()
        database.close()


def check_damaged_away(tap, place, server):
    """A record is damaged while nobody has its open, and somebody waits for
    the open's time-out."""
    place.fill('away')
    client = durable.Client(server, 'udf')
    handle = client.open_durable('away', persistent=True, lease=False,
                                 timeout=AWAY_SECONDS * 1000)
    other, other_handle = open_other(server, 'away')
    database = tdb.open(os.path.join(place.home, 'lock', DATABASE), 0,
                        OPEN_FLAGS, os.O_RDWR)
    before = set(database.keys())
    handle.purge(wire.ENABLED)
    key, = set(database.keys()) - before
    cases.kill_and_wait(cases.smbd_of(server, client))
    tap.equal(other_handle.set_end_of_file(5), wire.PURGE_FAILED,
              'damaged meanwhile: it counts while nobody has it')
    # The other client's smbd notes when the time-out began.
    tap.result(rig.wait_until(lambda: is_stamped(database[key])),
               'damaged meanwhile: its time-out has begun')
    stamped = database[key]
    database[key] = stamped[:len(stamped) // 2]

    def told():
        return [line for line in rig.server_log(server).splitlines()
                if 'its opens are left alone' in line
                or 'open_state_list_away: ' in line]

    tap.result(rig.wait_until(told, 4 * AWAY_SECONDS),
               'damaged meanwhile: that is logged')
    # Who looks again does after 5 seconds.
    time.sleep(6)
    tap.result(len(told()) == 1, 'damaged meanwhile: once', *told())
    tap.equal(other_handle.set_end_of_file(5), wire.PURGE_FAILED,
              'damaged meanwhile: it still counts')
    database[key] = stamped
    tap.result(rig.wait_until(lambda: other_handle.set_end_of_file(5) ==
                              wire.SUCCESS, 4 * AWAY_SECONDS),
               'damaged meanwhile: timed out when it is readable again')
    database.close()
    other.disconnect()
    client.disconnect()


def check_clock(tap, place, server):
    """The clock is set, or another node's is another: by it the time-out of an
    open that nobody has is over, by smbd's it is not."""
    place.fill('clock')
    client = durable.Client(server, 'udf')
    handle = client.open_durable('clock', persistent=True, lease=False)
    other, other_handle = open_other(server, 'clock')
    database = tdb.open(os.path.join(place.home, 'lock', DATABASE), 0,
                        OPEN_FLAGS, os.O_RDWR)
    before = set(database.keys())
    statuses = [handle.purge(wire.ENABLED) for _ in range(2)]
    tap.equal(statuses, [wire.SUCCESS] * 2, 'clock: two brackets')
    key, = set(database.keys()) - before
    client.disconnect()
    tap.result(rig.wait_until(lambda: is_stamped(database[key])),
               'clock: the connection has ended')
    record = bytearray(database[key])
    at = TWIN_HEADER + len(NO_WATCHERS) + DISCONNECT_TIME_AT
    then, = struct.unpack_from('<Q', record, at)
    struct.pack_into('<Q', record, at, then - LATE_SECONDS * 10000000)
    database[key] = bytes(record)
    statuses = [other_handle.purge(action)
                for action in (wire.ENABLED, wire.DISABLED)]
    tap.equal(statuses, [wire.SUCCESS] * 2, 'clock: another client counts')
    tap.equal(other_handle.set_end_of_file(100), wire.PURGE_FAILED,
              'clock: the open that nobody has counts still')
    client, handle = cases.reclaim(client, server, handle)
    tap.equal(cases.take_all(handle), 2, 'clock: and has its count')
    handle.close()
    database.close()
    other.disconnect()
    client.disconnect()


def is_stamped(record):
    """Has its one open the flag of those that nobody has?"""
    at = TWIN_HEADER + len(NO_WATCHERS) + FLAGS_AT
    return struct.unpack_from('<I', record, at)[0] & DISCONNECTED != 0


def check_refused_reclaim(tap, server, client, handle):
    """No handle comes back with less than its client was promised."""
    fresh = client.again(server)
    fresh.sequence += 1
    try:
        fresh.reclaim(handle)
        tap.result(False, f'{handle.name}: no reclaim')
    except wire.Refused as error:
        tap.result(True, f'{handle.name}: no reclaim ({error})')
    fresh.disconnect()


def absurd(value, size, count):
    """The record with this size of its array, and number of opens."""
    # After the watchers: version, union's case, pointer, size, number.
    if struct.unpack_from('<II', value, 16) != (1, 1):
        raise RuntimeError(f'not one open in {value.hex()}')
    return value[:16] + struct.pack('<II', size, count) + value[24:]


def newer_version(value):
    """The record with its version counted up."""
    # After the watchers: the NDR of udf_open_stateB, which begins with it.
    version = int.from_bytes(value[4:8], 'little')
    return value[:4] + (version + 1).to_bytes(4, 'little') + value[8:]


def main():
    rig.needs(rig.UDFD, rig.MODULE, rig.SUITE)
    tap = rig.Tap()
    persistent = cases.has_persistent_handles()
    with cases.Place(persistent) as place:
        server = place.start()
        check_orderly(tap, place, server)
        check_suite(tap, server, 'durable', 'no persistent handles')
        if persistent:
            check_suite(tap, server, 'udf', 'no durable handle')
        check_timed_out(tap, place, server)
        if persistent:
            check_killed(tap, place, server)
            check_killed_late(tap, place, server)
            check_killed_again(tap, place, server)
            server = check_stopped(tap, place, server)
        else:
            check_record(tap, place, server, False)
        tap.equal(rig.panics(server), [], 'no smbd crashed')
    if persistent:
        with cases.Place(True) as place:
            server = place.start()
            check_record(tap, place, server, True)
            check_damaged_away(tap, place, server)
            check_clock(tap, place, server)
            tap.equal(rig.panics(server), [], 'records: no smbd crashed')
    if persistent:
        with cases.Place(True) as place:
            check_joined(tap, place)
    with cases.Place(persistent) as place:
        check_unstored(tap, place)
    return tap.done()


sys.exit(main())
