# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program that should have cleaned up has left. It is found by the
directory that the program was given for its temporary files."""

import glob
import os

import rig


def traces(scratch):
    """Files in the directory; mounts and processes that name it."""
    with open('/proc/mounts', encoding='utf-8') as file:
        mounts = [line for line in file if scratch in line]
    processes = []
    for path in glob.glob('/proc/[0-9]*/cmdline'):
        try:
            with open(path, 'rb') as file:
                if scratch.encode() in file.read():
                    processes.append(path)
        except OSError:
            continue
    return os.listdir(scratch) + mounts + processes


def left_over(scratch):
    """What is still there, after the time that a killed process takes to be
    gone."""
    rig.wait_until(lambda: not traces(scratch), 5)
    return traces(scratch)
