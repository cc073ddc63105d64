r"""For suites in Python: verdicts on named tests, and commands that end in time.

    sys.path.insert(0, "/suite")
    import lib

    with lib.test("the server answers"):
        assert lib.output("redis-cli ping") == "PONG\n"

Whatever is raised inside `lib.test` fails that test and is printed, and the suite goes on.
"""

import collections
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

def _reap_orphans():
    """Leaves the suite to a child when it is the container's first process.

    Daemons lose their parents; who ends them waits until nobody has to wait for them any more.
    """
    if os.getpid() != 1:
        return
    suite = os.fork()
    while suite:
        pid, status = os.wait()
        if pid == suite:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


_reap_orphans()

Ended = collections.namedtuple("Ended", "status output")

_names = collections.Counter()
_lock = threading.Lock()


def report(verdict, name):
    """Reports a test. A name that is there already gets a number, as names must be unique."""
    name = " ".join(name.split())
    with _lock:
        _names[name] += 1
        if _names[name] > 1:
            name = f"{name} ({_names[name]})"
        with open("/results/tests", "a") as tests:
            tests.write(f"{verdict} {name}\n")


@contextlib.contextmanager
def test(name):
    """A test that passes when nothing is raised."""
    try:
        yield
    except Exception:
        print(f"--- {name}", *traceback.format_exc().splitlines(), sep="\n    ", flush=True)
        report("failed", name)
    else:
        report("ok", name)


def run(command, seconds=60, **options):
    """Runs a command in a session of its own and returns how it ended and what it printed.

    A command that is a string is the shell's. After `seconds`, all of its process group is killed
    and its status is None. What it leaves in the background without closing its output is killed too.
    """
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stderr", subprocess.STDOUT)
    child = subprocess.Popen(
        command,
        shell=isinstance(command, str),
        stdout=subprocess.PIPE,
        start_new_session=True,
        **options,
    )
    try:
        output, _ = child.communicate(timeout=seconds)
        return Ended(child.returncode, output.decode(errors="replace"))
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        output, _ = child.communicate()
        return Ended(None, output.decode(errors="replace"))


def output(command, seconds=60, **options):
    """What a command printed; it must end with 0."""
    ended = run(command, seconds, **options)
    assert ended.status == 0, f"{command!r} ended with {ended.status}:\n{ended.output}"
    return ended.output


def wait(what, condition, seconds=60):
    """Waits until a condition holds, and returns what it said."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = condition()
        if got:
            return got
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def share(items):
    """What of a long list this run takes: all, or the first of every three, as SUITE_SHARE says."""
    return list(items)[:: {"all": 1, "third": 3}[os.environ["SUITE_SHARE"]]]


def in_parallel(workers, function, items):
    """Calls a function with each of the items, several at once. What it raises ends the suite."""
    items = collections.deque(items)
    raised = []

    def work():
        while True:
            try:
                item = items.popleft()
            except IndexError:
                return
            try:
                function(item)
            except BaseException as error:
                raised.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
    sys.stdout.flush()
