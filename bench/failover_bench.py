# SPDX-License-Identifier: GPL-3.0-or-later
"""What transparent failover costs, on a continuously available share of the
newest Samba: an acknowledged FSCTL by the store that it cannot do without, and
persistent opens with the module by without.

The databases are on the disk of $TMPDIR, since a disk is what their
persistence is about.
"""

import os

import newest_samba
import smb_bench
from measure import Result, Unavailable

# A record of one open (vfs_module/open_record_ndr.c), and what stands before it
# for those who wait (Samba's dbwrap_watch.c).
RECORD_BYTES = 24 + 112 + 4

# Shorter turns than elsewhere: a disk changes its speed by the second.
SLICE = 0.03
ROUNDS = 20
SESSIONS = 3
NODES = 3
SHARES = ('plain', 'udf', 'raw')


def _options(place, cluster):
    raw = os.path.join(cluster.rig.BUILD, 'bench', 'raw_store.so')
    return [place.with_module('udf'), f'raw:vfs objects={raw}',
            *[f'{share}:{cluster.CA}' for share in SHARES]]


def _alone(place, cluster):
    """One smbd, without CTDB."""
    mount = place.mount(place.image(megabytes=256, sparable=False))
    return place.server({share: mount for share in SHARES},
                        _options(place, cluster), cluster.GLOBAL)


def _clustered(place, cluster):
    """A node of a cluster, all on this machine."""
    mount = place.mount(place.image(megabytes=256, sparable=False))
    nodes = place.cluster({share: mount for share in SHARES},
                          _options(place, cluster), cluster.GLOBAL,
                          nodes=NODES)
    return nodes.server(0)


SETUPS = (('alone', 'stand-alone', _alone),
          ('nodes', f'{NODES} nodes', _clustered))


def _measure(results, shares, prepare, base_words, thing_words):
    """Fill results, one for each of SETUPS, from two shares."""
    # Only here, since it is the newest Samba's.
    import cluster  # pylint: disable=import-outside-toplevel

    for result, (_, _, setup) in zip(results, SETUPS):
        with cluster.Place() as place:
            server = setup(place, cluster)
            for _ in range(SESSIONS):
                with (smb_bench.Load(server, shares[0]) as base,
                      smb_bench.Load(server, shares[1]) as thing):
                    prepare(base, thing)
                    smb_bench.compare(result, base, thing, base_words,
                                      thing_words, ROUNDS, seconds=SLICE)
    return results


def _record():
    results = [Result(f'record.{name}', f'FSCTL by a raw store, {title}', 0.9)
               for name, title, _ in SETUPS]

    def prepare(base, thing):
        base.run('open', 'raw')
        thing.run('keep', 'counted')

    return _measure(results, ('raw', 'udf'), prepare,
                    ['store', RECORD_BYTES, 'N'], ['purge', 'N'])


def _handles():
    results = [Result(f'handles.{name}', f'persistent open, close, {title}',
                      0.97) for name, title, _ in SETUPS]
    return _measure(results, ('plain', 'udf'), lambda base, thing: None,
                    ['handles', 'N'], ['handles', 'N'])


def record():
    """A pair of FSCTLs by two raw stores of a record, persistent handle."""
    return newest_samba.run(_record)


def handles():
    """Persistent handles with the module by without."""
    return newest_samba.run(_handles)


def needs():
    if os.geteuid() != 0:
        raise Unavailable('needs root, to mount and to start smbd')
