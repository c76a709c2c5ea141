# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a client with a persistent handle is without its server when the
node with the volume dies (docs/FAILOVER.md): from the death to the first FSCTL
that succeeds after the reclaim, and where that time goes.

TAKEOVERS=N   how many deaths [50]; one takes about 20 seconds, with the return
              of the node
"""

import os
import statistics
import sys
import time

import newest_samba
from measure import Result, Unavailable

TAKEOVERS = int(os.environ.get('TAKEOVERS', '50'))

DATA = bytes(100000)

# What ends at each event, in their order (moving.Watch).
STEPS = (('dead', 'CTDB finds the node silent'),
         ('recovered', 'election, recovery of the databases'),
         ('mounted', 'the volume mounted on another node'),
         ('addressed', 'the address up there'),
         ('listened', 'the client gets a connection'),
         ('reclaimed', 'session, tree, reclaim'),
         ('answered', 'the first FSCTL'))


def _one(moving, nodes):
    """{event: seconds since a node's death}"""
    wire = moving.durable.smb_client
    holder = nodes.wait_for_holders()[0]
    client = nodes.connect()
    handle = client.open_durable('recording', persistent=True,
                                 disposition=wire.OPEN_IF)
    # What was not written might not be on the volume at the power cut.
    if moving.write_all(handle, DATA) != wire.SUCCESS or \
            handle.purge(wire.ENABLED) != wire.SUCCESS:
        raise RuntimeError('a WRITE or a bracket was refused')
    with moving.Watch(nodes, holder) as watch:
        died = nodes.cut_power(holder)
        client, handle, listened = moving.come_back(client, nodes.server,
                                                    handle)
        reclaimed = time.monotonic()
        status = handle.purge(wire.ENABLED)
        answered = time.monotonic()
        moving.rig.wait_until(lambda: 'addressed' in watch.seen)
    if status != wire.SUCCESS or moving.cases.take_all(handle) != 2:
        raise RuntimeError('the count was lost on the way')
    handle.close()
    client.disconnect()
    nodes.start_again(holder)
    seen = dict(watch.seen, listened=listened, reclaimed=reclaimed,
                answered=answered)
    return {event: when - died for event, when in seen.items()}


def _say(number, run):
    steps = ', '.join(f'{event} {run[event]:.2f}' for event, _ in STEPS
                      if event in run)
    print(f'takeover {number} of {TAKEOVERS}, seconds: {steps}',
          file=sys.stderr, flush=True)


def _value(name, title, seconds):
    result = Result(name, title)
    result.value = (seconds, 's')
    return result


def _distribution(runs):
    totals = sorted(run['answered'] for run in runs)
    results = [
        _value('takeover.median', f'death to first FSCTL, median of '
               f'{len(totals)}', statistics.median(totals)),
        _value('takeover.worst', f'the same, worst of {len(totals)}',
               totals[-1])]
    results[0].note = 'all: ' + ' '.join(f'{total:.2f}' for total in totals)
    before = None
    for event, title in STEPS:
        spent = [run[event] - (run[before] if before else 0) for run in runs
                 if event in run and (not before or before in run)]
        if spent:
            results.append(_value(f'takeover.{event}', f'  {title}, median',
                                  statistics.median(spent)))
        before = event
    return results


def _takeover():
    # Only here, since it is the newest Samba's.
    import cluster  # pylint: disable=import-outside-toplevel
    import moving  # pylint: disable=import-outside-toplevel

    runs = []
    with cluster.Place() as place:
        nodes = moving.Moving(place)
        for number in range(1, TAKEOVERS + 1):
            runs.append(_one(moving, nodes))
            _say(number, runs[-1])
    return _distribution(runs)


def takeover():
    """From the death of a node to the first FSCTL after the reclaim."""
    return newest_samba.run(_takeover)


def needs():
    if os.geteuid() != 0:
        raise Unavailable('needs root, for nodes with a network of their own')
    if TAKEOVERS < 1:
        raise Unavailable('TAKEOVERS is less than 1')
