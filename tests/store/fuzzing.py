# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests that compile tests/fuzz/ share: compiler, bases, sanitizers."""

import glob
import os
import shutil
import subprocess

import store

FUZZ = os.path.join(store.TOP, 'tests', 'fuzz')
SANITIZERS = 'address,undefined'
# The programs' own sources; the rest is the engine.
NOT_ENGINE = ('udfd.c', 'udfctl', 'fuse_')

# The bases of broken volumes: small ones of each kind, with files on them.
BASES = (store.Format('1.50', 2048, 'hd', False),
         store.Format('2.01', 512, 'hd', True),
         store.Format('2.01', 2048, 'hd', False),
         store.Format('2.50', 512, 'hd', False))


def engine():
    return [path for path in
            glob.glob(os.path.join(store.TOP, 'udf_store', '*.c'))
            if not os.path.basename(path).startswith(NOT_ENGINE)]


def codec():
    return [os.path.join(store.TOP, 'vfs_module', name)
            for name in ('fsctl_codec.c', 'purge_mode.c')]


def source(name):
    return os.path.join(FUZZ, name)


def compiler():
    return shutil.which('clang') or shutil.which('clang-14')


def build(tap, clang, program, sources, sanitizers):
    """Compile a program; true if it could be."""
    flags = ['-g', '-O1', '-std=gnu11', '-D_GNU_SOURCE',
             '-D_FILE_OFFSET_BITS=64', f'-fsanitize={sanitizers}',
             '-fno-sanitize-recover=all', '-fno-omit-frame-pointer',
             '-I', store.TOP, '-I', os.path.join(store.TOP, 'include')]
    done = subprocess.run([clang, *flags, *sources, '-lpthread',
                           '-o', program],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    return tap.ok(done.returncode == 0,
                  f'{os.path.basename(program)}: compiles',
                  done.stdout[-3000:])


def make_bases(scratch):
    directory = os.path.join(scratch, 'bases')
    os.mkdir(directory)
    for number, form in enumerate(BASES):
        image = os.path.join(directory, f'{number}')
        store.make_image(image, form, 4)
        with store.Mount(scratch, image) as mount:
            os.makedirs(mount.file('a', 'b'))
            for name, size in (('small', 10), ('large', 9000), ('x' * 200, 1)):
                with open(mount.file('a', name), 'wb') as file:
                    file.write(b'd' * size)
            os.symlink('a/small', mount.file('link'))
            try:
                os.setxattr(mount.file('a', 'small'), 'user.x', b'v' * 700)
            except OSError:
                # Until UDF 1.50 there are none.
                pass
            mount.unmount()
    return directory


def environment(bases):
    return dict(os.environ, UDF_FUZZ_BASES=bases,
                ASAN_OPTIONS='allocator_may_return_null=1:'
                             'detect_odr_violation=0')
