# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk with bad sectors for a test: an image behind tests/rigs/faultdisk."""

import os
import subprocess

import rig

PROGRAM = os.path.join(rig.BUILD, 'tests', 'rigs', 'faultdisk')
SECTOR = 512


class Disk:
    """path is the disk; the rig ends it."""

    def __init__(self, place, image):
        self.image = image
        self.mountpoint = place.path('faults')
        os.mkdir(self.mountpoint)
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [PROGRAM, '--foreground', image, self.mountpoint],
            stdin=subprocess.DEVNULL)
        place.callback(self.end)
        self.path = os.path.join(self.mountpoint, 'disk')
        if not rig.wait_until(lambda: os.path.exists(self.path)):
            raise RuntimeError('faultdisk does not mount')

    def end(self):
        subprocess.run(['umount', '-l', self.mountpoint], check=False,
                       stderr=subprocess.DEVNULL)
        # Another mount namespace may have a copy of the mount.
        self.process.terminate()
        self.process.wait(30)

    def control(self, line):
        with open(os.path.join(self.mountpoint, 'control'), 'w',
                  encoding='ascii') as file:
            file.write(line + '\n')

    def find(self, data):
        """The sector that begins with this data."""
        with open(self.image, 'rb') as file:
            return file.read().index(data) // SECTOR
