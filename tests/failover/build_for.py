# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest Samba, with the tree built for it, for Python programs: sets
BUILD, SAMBA_ROOT and SAMBA_VERSION, which all rigs look at.

With SAMBA_ROOT set already, what is set is used. The first time takes minutes
and may use the network.
"""

import os
import shlex
import subprocess

TOP = os.environ.get('TOP') or os.path.abspath(
    os.path.join(os.path.dirname(__file__), '..', '..'))
# The exit status of tools/build-for when there is no such Samba.
NOT_TO_BE_HAD = 3


class NotToBeHad(Exception):
    """That Samba cannot be had on this machine; says why."""


class NotBuilt(Exception):
    """The tree could not be built for it; says why."""


def use_newest():
    """Set the environment, or raise one of the above."""
    os.environ['TOP'] = TOP
    if os.environ.get('SAMBA_ROOT'):
        return
    done = subprocess.run([os.path.join(TOP, 'tools', 'build-for')],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors='replace', check=False)
    said = done.stderr.strip() or 'no reason given'
    if done.returncode == NOT_TO_BE_HAD:
        raise NotToBeHad(said)
    if done.returncode != 0:
        raise NotBuilt(said)
    for word in shlex.split(done.stdout):
        name, _, value = word.partition('=')
        os.environ[name] = value
