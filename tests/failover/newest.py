# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest Samba, with the tree built for it, for the Python tests of this
directory (the shell's have "newest"): importing this makes all rigs use it.

Where that Samba cannot be had, the whole test is a skip that says why. The
first time takes minutes and may use the network, so `make check-failover`
comes here with it made already.
"""

import os
import sys

import build_for


def use_newest():
    chosen = bool(os.environ.get('SAMBA_ROOT'))
    try:
        build_for.use_newest()
    except build_for.NotToBeHad as reason:
        lines = str(reason).splitlines()
        for line in lines:
            print(f'# {line}')
        print(f'1..0 # SKIP the newest Samba: {lines[-1]}')
        sys.exit(0)
    except build_for.NotBuilt as reason:
        for line in str(reason).splitlines():
            print(f'# {line}')
        print('not ok 1 - builds for the newest Samba\n1..1')
        sys.exit(1)
    if not chosen:
        print(f'# Samba {os.environ["SAMBA_VERSION"]} '
              f'in {os.environ["SAMBA_ROOT"]}', flush=True)


use_newest()
sys.path.insert(0, os.path.join(build_for.TOP, 'tests', 'samba'))
