#!/usr/bin/python3
"""Runs modules of CPython's own test package, and reports each test method.

    run.py SECONDS MODULE...   each module in a process of its own, two at a time
    run.py --module MODULE     one module, in this process

A MODULE may be followed by =PATTERN,PATTERN...: only the methods that match one are run, as by
unittest's -k. SECONDS is what one module may take. One that takes longer is ended: what it
has not reported by then is not reported, and the others still run.

A method is called MODULE.Class.method. One that several classes inherit is a test of each. That a
module can be loaded, that its fixtures work, and that it ends, is a test too.
"""

import os
import sys
import unittest

RESULTS = "/results/tests"
AT_ONCE = 2
WORST_FIRST = ("failed", "skipped", "ok")


def write_result(word, name):
    with open(RESULTS, "a", encoding="utf-8") as results:
        results.write(f"{word} {name}\n")


class Reporter(unittest.TextTestResult):
    """Writes a line for each test as soon as it has ended."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.module = sys.argv[2].partition("=")[0]
        self.said = set()
        self.reported = set()

    def startTest(self, test):
        super().startTest(test)
        self.said = set()

    def stopTest(self, test):
        super().stopTest(test)
        # Of a base class in another file each module's is a test.
        name = test.id().removeprefix(f"test.{self.module}.")
        # A module may load a class twice.
        if name in self.reported:
            return
        self.reported.add(name)
        word = next((word for word in WORST_FIRST if word in self.said), "ok")
        write_result(word, f"{self.module}.{name}")

    def addSuccess(self, test):
        super().addSuccess(test)
        self.said.add("ok")

    def addError(self, test, err):
        super().addError(test, err)
        self.said.add("failed")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.said.add("failed")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.said.add("skipped")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.said.add("failed")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.said.add("failed")


def run_module(argument):
    """Runs one module's tests, and ends with 1 when what is outside its methods failed."""
    from test import support

    name, _, patterns = argument.partition("=")
    support.use_resources = ["subprocess", "cpu"]
    loader = unittest.TestLoader()
    if patterns:
        loader.testNamePatterns = [f"*{pattern}*" for pattern in patterns.split(",")]
    try:
        suite = loader.loadTestsFromName(f"test.{name}")
    except unittest.SkipTest as reason:
        print(f"{name} cannot be tested here: {reason}")
        return
    result = unittest.TextTestRunner(verbosity=2, resultclass=Reporter).run(suite)
    # unittest's stand-ins for classes and modules whose set-up or end failed have no method.
    broken = [test for test, _ in result.errors if not hasattr(test, "_testMethodName")]
    sys.exit(1 if broken or loader.errors else 0)


def run_in_process(argument, seconds):
    """Runs one module in a session and a directory of its own."""
    name = argument.partition("=")[0]
    directory = f"/work/{name}"
    os.mkdir(directory)
    ended = lib.run([sys.executable, "-u", "-W", "ignore", __file__, "--module", argument], seconds,
                    cwd=directory, env=os.environ | {"TMPDIR": directory})
    lib.report("ok" if ended.status == 0 else "failed", f"{name} to its end")
    print(f"=== {name} ended with {ended.status}\n{ended.output}", flush=True)


# Children that modules start by spawning import this file, under another name.
if __name__ == "__main__" and sys.argv[1] == "--module":
    run_module(sys.argv[2])
elif __name__ == "__main__":
    sys.path.insert(0, "/suite")
    import lib

    limit = int(sys.argv[1])
    lib.in_parallel(AT_ONCE, lambda module: run_in_process(module, limit), lib.share(sys.argv[2:]))
