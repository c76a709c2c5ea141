# SPDX-License-Identifier: GPL-3.0-or-later
"""A process on the server that has a file mapped."""

import os
import subprocess

import rig


class Mapping:
    """The mapper rig, holding a file of the mount."""

    def __init__(self, path):
        self.process = subprocess.Popen(
            [os.path.join(rig.RIGS, 'mapper'), path], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline()
        if said != 'mapped\n':
            self.__exit__()
            raise RuntimeError(f'mapper said {said!r}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
