# SPDX-License-Identifier: GPL-3.0-or-later
"""smbd under valgrind's memcheck, and what that had to say."""

import glob
import os
import re

# Of one error of memcheck, what it is about.
ERROR = re.compile(r'^==\d+== (Invalid |Conditional jump|Use of uninit|'
                   r'Syscall param|Source and destination|Mismatched|'
                   r'Process terminating)', re.M)


def under(logs):
    """What runs smbd, for Rig.server(); logs is where it writes, with the
    process ids added. talloc fills what it frees."""
    os.environ['TALLOC_FREE_FILL'] = '0xdd'
    return f'valgrind -q --num-callers=30 --log-file={logs}.%p'


def check(tap, logs):
    wrong = []
    names = glob.glob(f'{logs}.*')
    for name in names:
        with open(name, encoding='utf-8', errors='replace') as file:
            said = file.read()
        if ERROR.search(said):
            wrong.append('\n'.join(line for line in said.splitlines()
                                   if line.startswith('==')))
    tap.result(bool(names), 'valgrind ran smbd')
    tap.result(not wrong, 'memcheck has nothing to say', *wrong[:3])
