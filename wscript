# SPDX-License-Identifier: GPL-3.0-or-later
#
# The build. `make` calls it through tools/build, which finds Samba's source
# (and in it, waf) and names the build directory.
#
# Each directory has its own wscript, which lists what is built from what. To
# add a source file, add its name to a list there. The helpers those files use
# are methods of `bld`, defined below:
#
#   bld.udf_objects(name, sources)             objects several targets share
#   bld.udf_program(name, sources, use=...)    a program without Samba
#   bld.samba_module(name, init, sources, ..)  a module the stock Samba loads
#   bld.samba_program(name, sources, use=...)  a program on Samba's libraries
#   bld.samba_idl(idl)                         NDR code made by Samba's pidl
#   bld.unit_test(name, ...)                   a cmocka program
#
# and of `conf`, for what differs between Samba versions (samba_compat.h):
#
#   conf.samba_compiles(define, fragment)      HAVE_... if the fragment compiles
#   conf.samba_member(struct, member, header)  HAVE_STRUCT_MEMBER
#
# Their answers are in vfs_module/udf_config.h of the build directory.

import os
import re

from waflib import Configure, Errors, Utils
from waflib.Configure import conf as configure_method

APPNAME = 'vfs_udf'
VERSION = '0.1'

top = '.'
out = os.environ.get('BUILD', 'build')

DIRECTORIES = 'udf_store vfs_module smbtorture_tests tests bench'

# A changed wscript configures again by itself.
Configure.autoconfig = True

WARNINGS = '''
    -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes
    -Wpointer-arith -Wwrite-strings -Wcast-align -Wcast-qual
    -Wimplicit-fallthrough -Wformat=2 -Wformat-security
    -Wdeclaration-after-statement -Wvla
    -Wno-unused-parameter
'''.split()

CFLAGS = '''
    -std=gnu11 -O2 -g -fPIC -fstack-protector-strong -fstack-clash-protection
    -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
'''.split()

LINKFLAGS = '-Wl,-z,relro -Wl,-z,now -Wl,--as-needed'.split()

# The two cannot be had in one program.
SANITIZERS = {
    'address': '''-fsanitize=address,undefined
        -fno-sanitize-recover=undefined -fno-omit-frame-pointer'''.split(),
    'thread': '-fsanitize=thread -fno-omit-frame-pointer'.split(),
}

# Samba's directories for a file of smbd (source3) and of smbtorture
# (source4), relative to its source; "bin/default" has the generated headers.
# Never lib/util itself: it would hide the system's signal.h and time.h.
SAMBA_COMMON = '''
    bin/default bin/default/include bin/default/lib . include lib/replace lib
'''.split()
SAMBA_INCLUDES = {
    'source3': '''source3 source3/include source3/lib bin/default/source3
        bin/default/source3/include'''.split() + SAMBA_COMMON,
    'source4': '''source4 source4/include source4/lib bin/default/source4
        bin/default/source4/include'''.split() + SAMBA_COMMON,
}
# The headers of talloc and its like, where Samba's source was configured with
# its own and not with those of this machine.
BUNDLED_INCLUDES = 'lib/talloc lib/tevent lib/tdb/include'.split()


def options(opt):
    opt.load('compiler_c')
    opt.add_option('--sanitize', choices=[''] + sorted(SANITIZERS),
                   default='',
                   help='build with the address and undefined behaviour '
                        'sanitizers (address), or with that of threads '
                        '(thread)')
    opt.add_option('--samba-source', default=os.environ.get('SAMBA_ROOM'),
                   help="Samba's configured source (tools/samba-source)")
    opt.add_option('--modules-dir', default='',
                   help="Samba's modules directory [asked of smbd]")


def samba_flags(ctx, tree):
    """The flags with which a file of Samba's source3 or source4 is compiled.

    Samba's headers are system headers here, so they do not trip -Werror.
    """
    room = ctx.env.SAMBA_SOURCE
    flags = ['-DHAVE_CONFIG_H=1', '-D_SAMBA_BUILD_=4',
             '-D__STDC_WANT_LIB_EXT1__=1', '-D_REENTRANT']
    for name in BUNDLED_INCLUDES * ctx.env.SAMBA_BUNDLED + SAMBA_INCLUDES[tree]:
        flags += ['-isystem', os.path.normpath(os.path.join(room, name))]
    return flags


def ask_root(conf, command):
    """What a command of the root of another Samba prints."""
    in_root = conf.path.find_node('tests/rigs/in-root').abspath()
    return conf.cmd_and_log([in_root, conf.env.SAMBA_ROOT] + command,
                            quiet=True)


def find_smbd(conf):
    return conf.find_program('smbd', path_list=['/usr/sbin', '/usr/local/sbin',
                                                '/usr/local/samba/sbin'],
                             msg="Checking for the stock 'smbd'")


def has_bundled_libraries(room):
    config = os.path.join(room, 'bin', 'default', 'include', 'config.h')
    with open(config, encoding='utf-8', errors='replace') as file:
        return not re.search(r'^#define USING_SYSTEM_TALLOC 1', file.read(),
                             re.M)


def find_modules_dir(conf):
    if conf.options.modules_dir:
        return conf.options.modules_dir
    if conf.env.SAMBA_ROOT:
        said = ask_root(conf, ['smbd', '-b'])
    else:
        said = conf.cmd_and_log(find_smbd(conf) + ['-b'], quiet=True)
    found = re.search(r'^\s*MODULESDIR:\s*(\S+)', said, re.M)
    if not found:
        conf.fatal('smbd -b does not say where modules are; '
                   'use --modules-dir')
    return found.group(1)


def find_samba_version(conf):
    """What smbd says of itself, 4.17.12-Debian for instance."""
    if conf.env.SAMBA_ROOT:
        said = ask_root(conf, ['smbd', '-V'])
    else:
        said = conf.cmd_and_log(find_smbd(conf) + ['-V'], quiet=True)
    found = re.match(r'Version (\S+)', said)
    if not found:
        conf.fatal('smbd -V does not say which version it is')
    return found.group(1)


def find_samba_libraries(conf):
    """The libraries that the stock smbd is linked with, Samba's own too.

    Their names differ between versions; the linker takes what it needs.
    """
    root = conf.env.SAMBA_ROOT
    if root:
        said = ask_root(conf, ['ldd', '/usr/sbin/smbd'])
        # What those need of a newer libc is there where they run.
        conf.env.append_value('LINKFLAGS_SAMBA_LIBRARIES',
                              '-Wl,--allow-shlib-undefined')
    else:
        said = conf.cmd_and_log(['ldd'] + find_smbd(conf), quiet=True)
    libraries = [root + path for path in re.findall(r'=> (/\S+)', said)
                 if not re.search(r'/lib(c|m|dl|rt|pthread)\.so', path)]
    if not libraries:
        conf.fatal('ldd does not say what smbd is linked with')
    return libraries


def configure(conf):
    env = conf.env
    conf.load('compiler_c')
    if env.CC_NAME != 'gcc' and env.CC_NAME != 'clang':
        conf.fatal('gcc or clang is needed')

    env.append_value('CFLAGS', CFLAGS)
    # Log messages name a source file as the tree does, wherever it was built.
    env.append_value('CFLAGS', ['-ffile-prefix-map=../=',
                                '-ffile-prefix-map=%s/=' % conf.path.abspath()])
    env.append_value('LINKFLAGS', LINKFLAGS)
    env.WARNINGS = WARNINGS
    env.SANITIZE = conf.options.sanitize
    if env.SANITIZE:
        env.append_value('CFLAGS', SANITIZERS[env.SANITIZE])
        env.append_value('LINKFLAGS', SANITIZERS[env.SANITIZE])
    else:
        env.append_value('CFLAGS', '-D_FORTIFY_SOURCE=2')

    conf.check_cfg(package='fuse3', args='--cflags --libs',
                   uselib_store='FUSE3')
    conf.check_cfg(package='cmocka', args='--cflags --libs',
                   uselib_store='CMOCKA')
    conf.check_cfg(package='talloc', args='--cflags --libs',
                   uselib_store='TALLOC')
    conf.check_cfg(package='tevent', args='--cflags --libs',
                   uselib_store='TEVENT')
    conf.find_program('perl')

    room = conf.options.samba_source
    if not room or not os.path.exists(
            os.path.join(room, 'bin', 'default', 'include', 'config.h')):
        conf.fatal("--samba-source does not name a configured Samba source; "
                   "use tools/build, which makes one")
    env.SAMBA_ROOT = os.environ.get('SAMBA_ROOT', '')
    env.SAMBA_SOURCE = os.path.abspath(room)
    env.SAMBA_BUNDLED = has_bundled_libraries(env.SAMBA_SOURCE)
    env.CFLAGS_SAMBA3 = samba_flags(conf, 'source3')
    env.CFLAGS_SAMBA4 = samba_flags(conf, 'source4')
    env.SAMBA_MODULESDIR = find_modules_dir(conf)
    conf.msg("Samba's modules directory", env.SAMBA_MODULESDIR)
    version = find_samba_version(conf)
    conf.define('UDF_SAMBA_VERSION', version)
    conf.msg("Samba's version", version)
    env.SAMBA_LIBRARIES = find_samba_libraries(conf)
    conf.msg("Samba's libraries", '%d files' % len(env.SAMBA_LIBRARIES))

    conf.check(features='c', fragment='#include "includes.h"\n'
               '#include "smbd/smbd.h"\n'
               'int version = SMB_VFS_INTERFACE_VERSION;\n',
               use='SAMBA3', msg="Checking for smbd's headers")

    conf.recurse(DIRECTORIES, mandatory=False)
    conf.write_config_header('vfs_module/udf_config.h')


@configure_method
def samba_compiles(conf, define, fragment, tree='SAMBA3', flags=()):
    """Define `define` as 1 if the fragment compiles against smbd's headers.

    The fragment follows includes.h and smbd.h. Warnings are errors here, so
    that a call with the wrong types counts as different.
    """
    code = '#include "includes.h"\n'
    if tree == 'SAMBA3':
        code += '#include "smbd/smbd.h"\n'
    conf.check(features='c', fragment=code + fragment + '\n', use=tree,
               cflags=['-Werror', '-Wall', '-Wno-unused'] + list(flags),
               define_name=define, mandatory=False,
               msg='Checking for %s' % define)


@configure_method
def samba_member(conf, struct, member, headers=()):
    """Define HAVE_STRUCT_MEMBER if the struct has the member."""
    define = 'HAVE_' + re.sub(r'\W', '_', struct + '_' + member).upper()
    lines = ['#include "%s"' % header for header in headers]
    lines.append('void *probe(struct %s *s);' % struct)
    lines.append('void *probe(struct %s *s)' % struct)
    lines.append('{ return (void *)&s->%s; }' % member)
    conf.samba_compiles(define, '\n'.join(lines))


def includes(bld):
    # The build directory's counterpart has what pidl and configure made.
    return [bld.srcnode.find_dir('include'), bld.srcnode,
            bld.bldnode.make_node('vfs_module'), bld.bldnode]


@configure_method
def udf_objects(bld, name, sources, use='', samba=None, cflags=()):
    """Objects that several targets share.

    `samba` is source3 or source4 for files that include Samba's headers.
    """
    use = Utils.to_list(use)
    if samba:
        use = use + [{'source3': 'SAMBA3', 'source4': 'SAMBA4'}[samba]]
    bld.objects(name=name, target=name, source=sources,
                includes=includes(bld), use=use,
                cflags=bld.env.WARNINGS + list(cflags))


@configure_method
def udf_program(bld, name, sources, use='', install_path=None, cflags=(),
                lib=()):
    """A program that does not use Samba."""
    bld.program(name=name, target=name, source=sources,
                includes=includes(bld), use=Utils.to_list(use),
                cflags=bld.env.WARNINGS + ['-fPIE'] + list(cflags),
                linkflags=['-pie'], lib=list(lib), install_path=install_path)


@configure_method
def samba_module(bld, name, init, sources, samba, install_as=None, use=''):
    """A shared object that a stock Samba program loads.

    name        the file made is NAME.so in the directory of the wscript
    init        its init function, which Samba looks up as samba_init_module
                and which is the only name it exports
    samba       source3 (smbd) or source4 (smbtorture)
    install_as  path below Samba's modules directory, if it is installed

    Nothing is linked: what the module uses is in the program that loads it.
    """
    exports = bld.srcnode.find_node('tools/samba_module.map')
    # In the names of the objects: modules of different directories may have a
    # source in common, and each compiles it for itself.
    bld.samba_modules = getattr(bld, 'samba_modules', 0) + 1
    bld(features='c cshlib', name=name + '.so', target=name,
        idx=100 + bld.samba_modules,
        source=sources, includes=includes(bld),
        use=Utils.to_list(use) + [{'source3': 'SAMBA3',
                                   'source4': 'SAMBA4'}[samba]],
        cflags=bld.env.WARNINGS + ['-D%s=samba_init_module' % init],
        linkflags=['-Wl,--version-script=' + exports.abspath()],
        install_path=None).env.cshlib_PATTERN = '%s.so'
    if install_as:
        bld.install_as(os.path.join(bld.env.SAMBA_MODULESDIR, install_as),
                       bld.path.find_or_declare(name + '.so'), chmod=0o644)


@configure_method
def samba_program(bld, name, sources, target=None, use='', install_path=None,
                  cflags=()):
    """A program on the installed Samba's libraries (as a file of source3).

    Most of them are private to Samba: their symbols have its version in
    their names, so with another Samba the program does not start.
    """
    root = bld.env.SAMBA_ROOT
    directories = sorted({os.path.dirname(library)[len(root):]
                          for library in bld.env.SAMBA_LIBRARIES
                          if 'samba' in os.path.dirname(library)[len(root):]})
    bld.program(name=name, target=target or name, source=sources,
                includes=includes(bld), use=Utils.to_list(use) + ['SAMBA3'],
                cflags=bld.env.WARNINGS + ['-fPIE'] + list(cflags),
                linkflags=['-pie'] + bld.env.LINKFLAGS_SAMBA_LIBRARIES +
                ['-Wl,-rpath,' + path for path in directories],
                # After the objects: only what they need is linked.
                ldflags=bld.env.SAMBA_LIBRARIES, install_path=install_path)


@configure_method
def samba_idl(bld, idl):
    """Generate NAME.h, ndr_NAME.h and ndr_NAME.c from NAME.idl with pidl.

    They are in the same directory of the build tree; include them by their
    plain names. Returns the name of the C file for a list of sources.
    """
    node = bld.path.find_resource(idl)
    if node is None:
        raise Errors.WafError('%s is not there' % idl)
    base = os.path.splitext(node.name)[0]
    outputs = [bld.path.find_or_declare(pattern % base)
               for pattern in ('%s.h', 'ndr_%s.h', 'ndr_%s.c')]

    def run_pidl(task):
        room = task.env.SAMBA_SOURCE
        directory = task.outputs[0].parent
        # What is written into #include lines is the directory as given.
        command = task.env.PERL + [
            os.path.join(room, 'pidl', 'pidl'), '--quiet', '--header',
            '--ndr-parser', '--includedir=' + os.path.join(room, 'librpc/idl'),
            '--outputdir=' + directory.path_from(task.generator.bld.bldnode),
            '--', task.inputs[0].abspath()]
        # pidl writes Samba's own #include paths when it sees its source here.
        return task.exec_command(command, env=dict(os.environ, srcdir=room))

    bld(rule=run_pidl, source=node, target=outputs, name=idl,
        before=['c'])
    return 'ndr_%s.c' % base


@configure_method
def unit_test(bld, name, sources=None, use='', samba=None, cflags=(), lib=(),
              linkflags=()):
    """A cmocka program, tests/unit/NAME from tests/unit/NAME.c by default."""
    use = Utils.to_list(use) + ['CMOCKA']
    if samba:
        use.append({'source3': 'SAMBA3', 'source4': 'SAMBA4'}[samba])
    bld.program(name=name, target=name,
                source=sources or [name + '.c'],
                includes=includes(bld), use=use,
                # cmocka's macros cast const away and pass integers around.
                cflags=bld.env.WARNINGS + ['-Wno-cast-qual'] + list(cflags),
                linkflags=list(linkflags), lib=list(lib), install_path=None)


def build(bld):
    bld.recurse(DIRECTORIES, mandatory=True)
    for section in '58':
        for page in bld.srcnode.ant_glob(f'docs/man/*.{section}', quiet=True):
            bld.install_files(f'/usr/share/man/man{section}', page)
    # Where CTDB looks for event scripts that can be enabled.
    bld.install_files('/usr/share/ctdb/events/legacy',
                      bld.srcnode.find_node('ctdb/09.udf.script'), chmod=0o755)
