#!/usr/bin/python3
"""A runtime with one weakness, so that tests of attacks can show that they would find it.

It takes runc's command line as far as they use it. A container of its is there for as long as one program runs: it has
the bundle's directory for its root, and namespaces of mounts and processes.

descriptors  a directory of the host's is open in the container (runc, CVE-2024-21626)
links        a file is written into the image, wherever its name leads (crun, CVE-2025-24965)
cgroups      the path of the container's cgroup is put behind another as a text
nesting      config.json may nest as deep as it likes, until the stack ends
growing      each variable of the environment is copied as often as there are later ones; it ends itself after seconds
races        where a mount goes is looked at, and then named once more (runc, CVE-2021-30465)
null         what masks a path is looked at, and then named once more (runc, CVE-2025-31133)
"""

import ctypes
import json
import os
import signal
import stat
import sys
import time

WEAKNESS = "@WEAKNESS@"
NEW_MOUNTS, NEW_PROCESSES = 0x20000, 0x20000000
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000
LEAKED = 7
CGROUPS = "/sys/fs/cgroup"
# Between a look and what follows it, in seconds: as on a busy machine, on every one.
MEANWHILE = 0.002

libc = ctypes.CDLL(None, use_errno=True)


def must(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source, target, kind=None, flags=0):
    texts = [text and text.encode() for text in (source, target, kind)]
    must(libc.mount(*texts, ctypes.c_ulong(flags), None), target)


def mounts(rootfs, config):
    """Makes those that are a tmpfs or bound, where their destinations lead within the root."""
    for one in config["mounts"]:
        bound = not {"bind", "rbind"}.isdisjoint(one.get("options", []))
        place = rootfs + one["destination"]
        if not bound and one.get("type") != "tmpfs":
            continue
        if not (os.path.realpath(place) + "/").startswith(rootfs + "/"):
            raise ValueError(f"{place} leads out of the root")
        # By now it may lead elsewhere.
        time.sleep(MEANWHILE)
        if bound and not os.path.isdir(one["source"]):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            open(place, "a").close()
        else:
            os.makedirs(place, exist_ok=True)
        mount(one["source"], place, one.get("type"), BIND | RECURSIVE if bound else 0)


def mask(paths):
    """Covers files with the null device, as everybody does."""
    for path in paths:
        status = os.stat("/dev/null")
        if not stat.S_ISCHR(status.st_mode):
            raise ValueError("/dev/null is no device")
        # By now it may be another.
        time.sleep(MEANWHILE)
        mount("/dev/null", path, None, BIND)


def run(bundle, config, cwd, arguments):
    """Runs a program in the container, and returns what becomes of it."""
    rootfs = os.path.realpath(os.path.join(bundle, "rootfs"))
    if WEAKNESS == "descriptors":
        opened = os.open("/", os.O_RDONLY)
        os.dup2(opened, LEAKED)
        os.close(opened)
    if WEAKNESS == "links":
        with open(os.path.join(rootfs, ".krun_config.json"), "w") as file:
            file.write("{}")
    must(libc.unshare(NEW_MOUNTS | NEW_PROCESSES), "unshare")
    child = os.fork()
    if child == 0:
        mount("none", "/", None, RECURSIVE | PRIVATE)
        mount("proc", os.path.join(rootfs, "proc"), "proc")
        if WEAKNESS in ("races", "null"):
            mounts(rootfs, config)
        os.chroot(rootfs)
        os.chdir("/")
        if WEAKNESS == "null":
            mask(config["linux"].get("maskedPaths", []))
        os.chdir(cwd)
        os.execve(arguments[0], arguments, {"PATH": "/bin"})
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def cgroups(path):
    """Directories that a path is said to mean, one in each hierarchy, below one of this runtime's own."""
    kinds = [os.path.join(CGROUPS, name) for name in os.listdir(CGROUPS)] + [CGROUPS]
    for kind in filter(lambda kind: os.path.exists(kind + "/cgroup.procs"), kinds):
        yield kind + "/krun-careless", kind + "/krun-careless/" + path


def make_cgroups(path):
    for above, place in cgroups(path):
        os.makedirs(above, exist_ok=True)
        os.makedirs(place, exist_ok=True)


def remove_cgroups(path):
    for above, place in cgroups(path):
        for directory in (place, above):
            try:
                os.rmdir(directory)
            except OSError:
                pass  # It was not there, or has gone by another name.


def read(bundle):
    with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
        text = file.read()
    if WEAKNESS == "nesting":
        sys.setrecursionlimit(1 << 30)
    config = json.loads(text)
    if WEAKNESS == "growing":
        signal.alarm(3)
        environment = ()
        for variable in config["process"]["env"]:
            environment += (variable,)
    return config


def option(arguments, name, otherwise):
    if name not in arguments:
        return otherwise
    at = arguments.index(name)
    value = arguments[at + 1]
    del arguments[at : at + 2]
    return value


def main(arguments):
    root = option(arguments, "--root", "/")
    verb = arguments.pop(0)
    bundle = option(arguments, "--bundle", None)
    if verb in ("run", "create"):
        config = read(bundle)
        container = os.path.join(root, arguments[0])
        os.symlink(os.path.abspath(bundle), container)
        if WEAKNESS == "cgroups":
            make_cgroups(config["linux"]["cgroupsPath"])
        if verb == "run":
            return run(bundle, config, config["process"]["cwd"], config["process"]["args"])
    elif verb == "exec":
        cwd = option(arguments, "--cwd", "/")
        container = os.path.join(root, arguments.pop(0))
        return run(container, read(container), cwd, arguments)
    elif verb == "delete":
        container = os.path.join(root, arguments[-1])
        if WEAKNESS == "cgroups":
            remove_cgroups(read(container)["linux"]["cgroupsPath"])
        os.unlink(container)
    return 0


sys.exit(main(sys.argv[1:]))
