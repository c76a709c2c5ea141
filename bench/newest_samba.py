# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a benchmark with the newest Samba, in a process of its own.

What the rigs run is said by the environment, which they read when they are
loaded; and the rig of a volume that moves takes its process to another network.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys

from measure import Unavailable

PR_SET_PDEATHSIG = 1
TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, os.path.join(TOP, 'tests', 'failover'))

# pylint: disable=wrong-import-position
import build_for  # noqa: E402


@contextlib.contextmanager
def _environment():
    """That of the newest Samba. The first time takes minutes."""
    before = dict(os.environ)
    try:
        build_for.use_newest()
        yield
    except build_for.NotToBeHad as reason:
        raise Unavailable('the newest Samba cannot be had: '
                          f'{str(reason).splitlines()[-1]}') from None
    except build_for.NotBuilt as reason:
        raise RuntimeError(f'no build for the newest Samba:\n{reason}') \
            from None
    finally:
        os.environ.clear()
        os.environ.update(before)


def _call(function, answer):
    """In the other process: it ends, and its rig with it, when it is told to
    or this one dies; a Ctrl-C is for this one alone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.setsid()
    try:
        answer.send(function())
    except Unavailable as reason:
        answer.send(reason)
    except Exception as error:  # pylint: disable=broad-except
        # Not every exception can be sent.
        answer.send(RuntimeError(f'{type(error).__name__}: {error}'))


def run(function):
    """The results of function, which is one of a module's."""
    spawned = multiprocessing.get_context('spawn')
    ours, theirs = spawned.Pipe(duplex=False)
    with _environment():
        child = spawned.Process(target=_call, args=(function, theirs))
        child.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        answer = RuntimeError('the process of the benchmark died')
    except BaseException:
        child.terminate()
        raise
    finally:
        child.join()
    if isinstance(answer, Exception):
        raise answer
    return answer
