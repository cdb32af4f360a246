"""To import the package does nothing but import: no network, no pickle, no file written."""

import subprocess
import sys

import pytest

# Python's own audit events (PEP 578): the import of every module is watched from inside.
WATCHED = """
import importlib, pkgutil, sys

seen = []
FORBIDDEN = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request")
FORBIDDEN += ("pickle.find_class", "shelve.open", "http.client.connect", "ftplib.connect", "webbrowser.open")


def watch(event, arguments):
    if event in FORBIDDEN:
        seen.append((event, str(arguments)[:200]))


sys.addaudithook(watch)
"""
IMPORTS = """
import advlib

for module in pkgutil.walk_packages(advlib.__path__, "advlib."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def watched(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", WATCHED + code], capture_output=True, text=True)


@pytest.mark.slow
def test_importing_every_module_opens_no_connection_and_unpickles_nothing():
    done = watched(
        IMPORTS
        + "print(len(sys.modules) if not seen else seen, sum(name.startswith('advlib') for name in sys.modules))"
    )
    assert done.returncode == 0, done.stderr
    modules, ours = done.stdout.split()
    assert modules.isdigit() and int(ours) > 60, done.stdout


@pytest.mark.parametrize(
    "forbidden, event",
    [
        ("import socket; socket.socket().connect_ex(('127.0.0.1', 9))", "socket.connect"),
        ("import collections, pickle; pickle.loads(pickle.dumps(collections.Counter()))", "pickle.find_class"),
    ],
)
def test_what_is_forbidden_is_seen(forbidden, event):
    assert event in watched(f"{forbidden}\nprint(seen)").stdout
