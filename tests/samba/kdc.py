# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kerberos realm of a test's own: MIT's krb5kdc on a free port, with all it
has in a directory of the rig. Nothing of the machine's own is read or changed.
"""

import glob
import os
import secrets
import socket
import subprocess

import rig

REALM = 'UDF.TEST'

KRB5_CONF = '''[libdefaults]
 default_realm = {realm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
[realms]
 {realm} = {{
  kdc = 127.0.0.1:{port}
 }}
'''

# A stand-alone smbd takes a ticket with a PAC for one of a domain.
KDC_CONF = '''[kdcdefaults]
 kdc_listen = 127.0.0.1:{port}
 kdc_tcp_listen = 127.0.0.1:{port}
[realms]
 {realm} = {{
  database_name = {directory}/principal
  key_stash_file = {directory}/stash
  acl_file = {directory}/acl
  disable_pac = true
  max_life = 1h
 }}
[dbmodules]
 db_module_dir = {plugins}
[logging]
 kdc = FILE:{directory}/kdc.log
'''


class NoKdc(Exception):
    """Why there can be none here."""


def host_name():
    """A name of 127.0.0.1 for which Samba asks for a ticket: not for the
    address, nor for "localhost" written so. Since 4.25 it does not connect to
    any spelling of that."""
    if not os.environ.get('SAMBA_ROOT'):
        return 'LOCALHOST'
    with open('/etc/hosts', encoding='utf-8', errors='replace') as hosts:
        for line in hosts:
            address, *names = line.partition('#')[0].split() or ['']
            for name in names:
                if address == '127.0.0.1' and name.lower() != 'localhost':
                    return name
    raise NoKdc("this Samba's client does not connect to localhost, and "
                '/etc/hosts has no other name for 127.0.0.1')


class Kdc:
    """Started, and ended by the rig. What is started afterwards finds it: the
    process's environment says where. settings is what smbd's global section
    needs; host is the server's name."""

    def __init__(self, place):
        self.directory = place.path('kdc')
        os.mkdir(self.directory)
        self.host = host_name()
        self.root = self._find_programs()
        self.process = None
        place.callback(self.end)
        for name, file in (('KRB5_CONFIG', 'krb5.conf'),
                           ('KRB5_KDC_PROFILE', 'kdc.conf'),
                           ('KRB5CCNAME', 'ccache')):
            os.environ[name] = os.path.join(self.directory, file)
        keytab = os.path.join(self.directory, 'keytab')
        self.settings = [f'realm = {REALM}',
                         'kerberos method = dedicated keytab',
                         f'dedicated keytab file = FILE:{keytab}']
        self._configure(self._free_port())
        self._run('kdb5_util', '-r', REALM, 'create', '-s',
                  '-P', secrets.token_hex(16))
        services = [f'cifs/{name}' for name in
                    {self.host, self.host.lower()}]
        for service in services:
            self._admin('addprinc', '-randkey', service)
        self._admin('ktadd', '-k', keytab, *services)
        for _ in range(5):
            if self._start():
                return
            self._configure(self._free_port())
        raise RuntimeError('krb5kdc does not start:\n' + self.log())

    def _find_programs(self):
        try:
            socket.getaddrinfo(self.host, None)
        except OSError as error:
            raise NoKdc(f'{self.host} has no address: {error}') from error
        done = subprocess.run([os.path.join(rig.TOP, 'tools', 'krb5-kdc')],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False)
        if done.returncode != 0:
            raise NoKdc(done.stderr)
        root = done.stdout.strip()
        program = os.path.join(root, 'usr/sbin/krb5kdc')
        libraries = subprocess.run(['ldd', program], stdout=subprocess.PIPE,
                                   text=True, check=False).stdout
        if 'not found' in libraries:
            raise NoKdc("libraries of krb5kdc are missing: 'tools/deps check' "
                        'installs them')
        return root

    @staticmethod
    def _free_port():
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            return probe.getsockname()[1]

    def _configure(self, port):
        self.port = port
        plugins = glob.glob(os.path.join(
            self.root, 'usr/lib/*/krb5/plugins/kdb'))
        for name, text in (('krb5.conf', KRB5_CONF), ('kdc.conf', KDC_CONF)):
            path = os.path.join(self.directory, name)
            with open(path, 'w', encoding='ascii') as file:
                file.write(text.format(
                    realm=REALM, port=port, directory=self.directory,
                    plugins=plugins[0]))

    def _program(self, name):
        return os.path.join(self.root, 'usr/sbin', name)

    def _run(self, name, *arguments):
        rig.run(self._program(name), *arguments, stdin=subprocess.DEVNULL)

    def _admin(self, *words):
        self._run('kadmin.local', '-r', REALM, *words)

    def _start(self):
        """False: it has ended, since somebody else has the port."""
        # pylint: disable=consider-using-with
        with open(os.path.join(self.directory, 'out'), 'ab') as out:
            self.process = subprocess.Popen(
                [self._program('krb5kdc'), '-n', '-r', REALM],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out)

        def answers():
            try:
                socket.create_connection(('127.0.0.1', self.port), 1).close()
            except OSError:
                return False
            return True

        rig.wait_until(
            lambda: self.process.poll() is not None or answers(), 60)
        return self.process.poll() is None

    def log(self):
        text = ''
        for name in ('out', 'kdc.log'):
            path = os.path.join(self.directory, name)
            if os.path.exists(path):
                with open(path, encoding='utf-8', errors='replace') as file:
                    text += file.read()
        return text

    def add(self, user, password):
        """A principal, whom smbd takes for the account of that name."""
        self._admin('addprinc', '-pw', password, user)

    def end(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
