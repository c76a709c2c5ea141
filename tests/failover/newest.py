# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest Samba, with the tree built for it, for the Python tests
of this directory (the shell's have "newest"): importing this sets BUILD and
SAMBA_ROOT, which all rigs look at.

Where that Samba cannot be had, the whole test is a skip that says why. With
SAMBA_ROOT set already, what is set is used. The first time takes minutes and
may use the network, so `make check-failover` comes here with it made already.
"""

import os
import shlex
import subprocess
import sys

TOP = os.environ.get('TOP') or os.path.abspath(
    os.path.join(os.path.dirname(__file__), '..', '..'))
# The exit status of tools/build-for when there is no such Samba.
NOT_TO_BE_HAD = 3


def use_newest():
    done = subprocess.run([os.path.join(TOP, 'tools', 'build-for')],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors='replace', check=False)
    if done.returncode != 0:
        for line in done.stderr.splitlines():
            print(f'# {line}')
    if done.returncode == NOT_TO_BE_HAD:
        why = (done.stderr.splitlines() or ['no reason given'])[-1]
        print(f'1..0 # SKIP the newest Samba: {why}')
        sys.exit(0)
    if done.returncode != 0:
        print('not ok 1 - builds for the newest Samba\n1..1')
        sys.exit(1)
    for word in shlex.split(done.stdout):
        name, _, value = word.partition('=')
        os.environ[name] = value
    print(f'# Samba {os.environ["SAMBA_VERSION"]} '
          f'in {os.environ["SAMBA_ROOT"]}', flush=True)


if not os.environ.get('SAMBA_ROOT'):
    use_newest()
os.environ['TOP'] = TOP
sys.path.insert(0, os.path.join(TOP, 'tests', 'samba'))
