#!/usr/bin/python3
"""Runs tests of node's own source, two at a time, and reports each.

    run.py PATTERN... [-- PATTERN...]    files below node's test directory, without .js, and
                                         without those that match a pattern after --

A test is a program that ends with 0, as in node's tools/test.py: a line that starts with
"// Flags:" has node's options, and one that prints first that it is skipped has not passed.
"""

import os
import pathlib
import re
import shutil
import sys

sys.path.insert(0, "/suite")
import lib

TESTS = pathlib.Path("/usr/src/nodejs/test")
AT_ONCE = 2
SECONDS = 60


def command(path):
    """The command line that a test wants to be run by."""
    flags = re.search(r"^// Flags: (.*)$", path.read_text(errors="replace"), re.MULTILINE)
    return ["node", *(flags[1].split() if flags else []), path]


def run(path):
    """Runs one test in a directory of its own."""
    name = str(path.relative_to(TESTS).with_suffix(""))
    directory = pathlib.Path("/work", name)
    directory.mkdir(parents=True)
    ended = lib.run(command(path), SECONDS, cwd=TESTS, env=os.environ | {"NODE_TEST_DIR": directory})
    shutil.rmtree(directory, ignore_errors=True)
    if ended.status != 0:
        print(f"--- {name} ended with {ended.status}\n{ended.output}", flush=True)
        lib.report("failed", name)
    else:
        lib.report("skipped" if ended.output.startswith("1..0 # Skipped") else "ok", name)


def files(patterns):
    """The tests that match one of the patterns."""
    return {path for pattern in patterns for path in TESTS.glob(f"{pattern}.js")}


words = sys.argv[1:]
split = words.index("--") if "--" in words else len(words)
tests = sorted(files(words[:split]) - files(words[split + 1:]))
if not tests:
    sys.exit(f"no tests in {TESTS}")
lib.in_parallel(AT_ONCE, run, lib.share(tests))
