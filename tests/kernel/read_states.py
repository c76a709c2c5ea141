# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of test_states that runs in the guest: mount one image after the
other with the kernel's driver, and write down what can be read.

read_states.py DIRECTORY: images are DIRECTORY/N.BLOCKSIZE; the answer is
DIRECTORY/answer, JSON: {"N.BLOCKSIZE": [{path: digest}, is a name there twice
in a directory] or what went wrong}.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys

DEVICE = os.environ['DEVICE']
MOUNT = os.environ['MOUNT']


def digest(path):
    try:
        if os.path.islink(path):
            data = os.readlink(path).encode()
        else:
            with open(path, 'rb') as file:
                data = file.read()
    except OSError as error:
        return str(error)
    return hashlib.sha256(data).hexdigest()


def look_at(image):
    block = image.rpartition('.')[2]
    with open(image, 'rb') as source, open(DEVICE, 'r+b') as device:
        shutil.copyfileobj(source, device, 1 << 20)
    done = subprocess.run(
        ['mount', '-t', 'udf', '-o', f'ro,bs={block}', DEVICE, MOUNT],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False)
    if done.returncode != 0:
        return done.stdout
    found = {}
    twice = False
    for path, directories, names in os.walk(MOUNT):
        twice = twice or len(set(directories + names)) != \
            len(directories + names)
        for name in names:
            full = os.path.join(path, name)
            found[os.path.relpath(full, MOUNT)] = digest(full)
    subprocess.run(['umount', MOUNT], check=True)
    return found, twice


def main():
    top = sys.argv[1]
    answer = {name: look_at(os.path.join(top, name))
              for name in sorted(os.listdir(top))}
    with open(os.path.join(top, 'answer'), 'w', encoding='utf-8') as file:
        json.dump(answer, file, ensure_ascii=True)


main()
