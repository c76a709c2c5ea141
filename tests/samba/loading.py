# SPDX-License-Identifier: GPL-3.0-or-later
"""An smbd that meets a module, installed as vfs/udf.so: what its share is
worth, and what the log has about it."""

import os
import re
import subprocess

import rig

# What any message of the module about the Samba it meets has.
LINE = re.compile(r'^.*(?:vfs_udf was built|vfs_udf, built|where vfs_udf was '
                  r'built).*$', re.M)


def samba_version():
    """What the smbd of $SAMBA_ROOT, or the installed one, says it is."""
    root = os.environ.get('SAMBA_ROOT')
    command = ['smbd', '-V']
    if root:
        command = [os.path.join(rig.RIGS, 'in-root'), root, *command]
    path = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'
    return rig.run(*command, env=dict(os.environ, PATH=path)).split()[1]


def can_be_opened(server, share):
    """Whether smbclient can, and what it said."""
    command = ['smbclient', f'//{server.host}/{share}', '-p',
               str(server.port), '-s', server.conf, '-U',
               f'{server.username}%{server.password}', '-c', 'ls']
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True,
                          errors='replace', check=False)
    return done.returncode == 0, done.stdout


def meet(tap, place, module, what, serves, *parts, preload=()):
    """Start smbd with the module. Its share must be there (serves) or refused,
    with one line in the log that has all the parts; another share of the same
    smbd must work either way."""
    directory = place.plain_directory()
    server = place.server({'udf': directory, 'plain': directory},
                          ['udf:vfs objects=udf'], installed={'udf': module},
                          preload=preload)
    opened, said = can_be_opened(server, 'udf')
    if serves:
        tap.result(opened, f'{what}: the share works', said)
    else:
        tap.result(not opened and 'tree connect failed' in said,
                   f'{what}: the share is refused', said)
    opened, said = can_be_opened(server, 'plain')
    tap.result(opened, f'{what}: another share works', said)

    log = rig.server_log(server)
    lines = LINE.findall(log)
    tap.result(len(lines) == 1 and all(part in lines[0] for part in parts),
               f'{what}: one line of the log says it', *lines or [log])
    tap.result('undefined symbol' not in log, f'{what}: and no missing symbol',
               log)
    panics = rig.panics(server)
    tap.result(not panics, f'{what}: no smbd panicked', *panics[:5])
