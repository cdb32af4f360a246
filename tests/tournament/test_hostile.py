"""Submissions that misbehave, each a real one: zero for its match with the reason in words, and the rest goes on."""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from advlib import landlock

ATTACK = "def attack(model, x, y, within):\n    "
LEAVE = "return x + 1.01 * within.eps * (x < 0.5) - 1.01 * within.eps * (x >= 0.5)"
DEAF = """import signal
    for n in range(1, 32):
        try: signal.signal(n, signal.SIG_IGN)
        except Exception: pass
    while True:
        try:
            while True: pass
        except BaseException: pass
"""
URL = "import urllib.request as r\n    r.urlopen('http://localhost')"
PICKLE = "import pickle, collections as c\n    pickle.loads(pickle.dumps(c.Counter))"
SILENT = """class Silent(Exception):
        def __str__(self): raise SystemExit
    raise Silent
"""
FORGED = 'import os\n    os.write(3, b\'{"outcome": "", "passes": 1e999}\\n\')\n    os._exit(0)'
# What a submission does, the outcome, and words of the reason.
BAD_ATTACKS = {
    "raises": ("raise ValueError('no idea')", "crashed", "ValueError: no idea (line 2 of attack.py)"),
    "is no Python": ("return (", "crashed", "SyntaxError"),
    "hangs": ("while True: pass", "hung", "more than 1 seconds"),
    "hangs and hears no signal": (DEAF, "hung", "more than 1 seconds"),
    "leaves the ball": (LEAVE, "left the ball", "left the ball on 4 of 4"),
    "leaves the box": ("return x - within.eps", "left the ball", "expected [0, 1]"),
    "returns NaN": ("return x * float('nan')", "NaN", "NaN or infinite pixels"),
    "returns another shape": ("return x[:2]", "shape", "float32 (2, 3, 48, 48); expected images like its own"),
    "returns whole numbers": ("return (255 * x).byte()", "shape", "uint8"),
    "returns nothing": ("pass", "shape", "it returned a NoneType"),
    "returns an array": ("return x.numpy()", "shape", "it returned a ndarray"),
    "returns far too much": ("import os\n    while True: os.write(3, b'0' * 2**20)", "output", "gave back more than"),
    "prints far too much": ("import os\n    while True: os.write(1, b'0' * 2**20)", "output", "printed more than"),
    "changes the model": ("model[1].weight.data.zero_()\n    return x", "changed", "its weights or buffers"),
    "reads a file": ("open('/etc/passwd').read()\n    return x", "files", "it opened the file '/etc/passwd'"),
    "swallows what reading says": ("try: open('/etc/passwd')\n    except: return x", "files", "/etc/passwd"),
    "reads with os": ("import os\n    os.open('/etc/passwd', 0)\n    return x", "files", "/etc/passwd"),
    "lists a folder": ("import os\n    os.listdir('/')\n    return x", "files", "it listed the folder '/'"),
    "writes a file": ("open('here', 'w')\n    return x", "files", "to write to it"),
    "writes over the package": ("import advlib\n    open(advlib.__file__, 'a')", "files", "to write to it"),
    "uses the network": (URL, "network", "it used the network"),
    "opens a socket": ("import socket\n    socket.socket()\n    return x", "network", "it used the network"),
    "starts a program": ("import subprocess\n    subprocess.run(['true'])\n    return x", "program", "another program"),
    "starts a shell": ("import os\n    os.system('true')\n    return x", "program", "another program"),
    "forks": ("import os\n    os.fork()\n    return x", "program", "another process"),
    "kills": ("import os\n    os.kill(os.getppid(), 9)\n    return x", "program", "it sent a signal"),
    "calls C": ("import ctypes\n    ctypes.CDLL(None)\n    return x", "program", "through ctypes"),
    "opens a pickle": (PICKLE, "pickle", "it opened a pickle"),
    "takes all memory": (
        "import torch\n    return [torch.ones(2**26) for _ in range(9)]",
        "memory",
        "more than 500 MB",
    ),
    "takes all memory in lists": ("a = []\n    while True: a.append(bytearray(2**24))", "memory", "more than 500 MB"),
    "leaves by os._exit": ("import os\n    os._exit(0)", "exit", "it ended its process (status 0) without a result"),
    "leaves by SystemExit": ("raise SystemExit", "exit", "SystemExit"),
    "leaves by KeyboardInterrupt": ("raise KeyboardInterrupt", "exit", "KeyboardInterrupt"),
    "crashes the interpreter": ("import os\n    os.abort()", "crashed", "ended by the system: Aborted"),
    "raises what cannot say why": (SILENT, "crashed", "Silent: it cannot say why"),
    "raises what no file can hold": ("raise ValueError('\\ud800')", "crashed", "ValueError: \\ud800"),
    "forges an answer": ("import os\n    os.write(3, b'{}\\n')\n    os._exit(0)", "exit", "without a result"),
    "forges a huge number": (FORGED, "exit", "without a result"),
}


@pytest.mark.parametrize("what", BAD_ATTACKS)
def test_an_attack_that(what, table):
    body, outcome, words = BAD_ATTACKS[what]
    match = table.attack(ATTACK + body)
    assert (match.outcome, match.at_fault) == (outcome, "attack") and words in match.reason
    assert match.fooled == 0 and match.right == (True,) * 4


def test_a_file_without_an_attack(table):
    assert table.attack("x = 1").reason == "attack.py defines no function attack(model, x, y, within)"


def test_after_all_of_them_a_match_is_played_as_ever(table):
    for body, *_ in list(BAD_ATTACKS.values())[-3:]:
        table.attack(ATTACK + body)
    match = table.attack(ATTACK + "from advlib.attacks import pgd\n    return pgd(model, x, y, within)")
    assert (match.outcome, match.fooled) == ("", 4) and match.passes > 0
    assert len(match.pictures) == 3


HONEST = """
import copy, threading, traceback, warnings
import numpy as np
import torch
from advlib import load_model
from advlib.attacks import transfer

def attack(model, x, y, within):
    warnings.warn("careful")
    try: 1 / 0
    except ZeroDivisionError: traceback.print_exc()
    print("hello", np.random.default_rng(0).random())
    thread = threading.Thread(target=torch.rand, args=(3,))
    thread.start(), thread.join()
    random = x + within.eps * (2 * torch.rand_like(x) - 1)
    return transfer([load_model("signs-linear"), copy.deepcopy(model)], random.clamp(0, 1), y, within).clamp(
        x - within.eps, x + within.eps)
"""


def test_an_honest_attack_may_do_what_one_needs(table):
    """Print, warn, draw at random, copy the model, load one of the course's, and use threads."""
    match = table.attack(HONEST)
    assert (match.outcome, match.reason) == ("", "") and match.fooled > 0
    assert table.attack(HONEST + "\n").right == match.right


def test_who_sleeps_is_woken_by_the_clock(table, monkeypatch):
    monkeypatch.setattr("advlib.tournament.warden.wall", lambda seconds: 1.0)
    began = time.monotonic()
    assert table.attack(ATTACK + "import time\n    time.sleep(99)").outcome == "hung"
    assert time.monotonic() - began < 30


@pytest.mark.skipif(sys.platform != "linux", reason="Python's own way to start a program, as it is there")
def test_who_hangs_is_killed_with_its_children(table, monkeypatch):
    """Python's own ways to start one are refused; this one asks the system behind Python's back."""
    monkeypatch.setattr("advlib.tournament.warden.wall", lambda seconds: 3.0)
    start = """import _posixsubprocess, os, time
    r, w = os.pipe()
    given = [[b'true'], [b'/bin/true'], True, (w,), None, []] + [-1] * 6
    given += [r, w, False, False, -1, None, None, None, -1, lambda: time.sleep(99), False]
    _posixsubprocess.fork_exec(*given)
    time.sleep(99)"""
    assert table.attack(ATTACK + start).outcome == "hung"
    warden = table.organiser.warden
    children = [one for one in psutil.process_iter() if _folder(one) == warden.folder]
    assert warden._process.pid in [one.pid for one in children]
    _, alive = psutil.wait_procs([one for one in children if one.pid != warden._process.pid], timeout=20)
    assert alive == []  # who is killed is gone a moment later


def _folder(process: psutil.Process) -> Path | None:
    """Where it works: a warden has a folder of its own, and hands it on to its children."""
    try:
        return Path(process.cwd())
    except psutil.Error:
        return None


LINKED = """import os, site, sys
from advlib.tournament.lock import lock
folder = sys.argv[1]
site.getsitepackages = lambda: [folder]
sys.path.append(folder)
lock(lambda outcome, reason: print(outcome, reason, flush=True))  # the process ends without
import linked_package, linked_module
print(os.listdir(os.path.dirname(linked_package.__file__)), flush=True)
open(sys.argv[2])
"""


def test_a_package_that_is_a_link_can_be_imported(tmp_path):
    """As some installers have it; what lies beside it stays out of reach."""
    (tmp_path / "elsewhere" / "package").mkdir(parents=True)
    (tmp_path / "elsewhere" / "package" / "__init__.py").write_text("")
    (tmp_path / "elsewhere" / "module.py").write_text("")
    (tmp_path / "elsewhere" / "secret").write_text("")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "linked_package").symlink_to(tmp_path / "elsewhere" / "package")
    (tmp_path / "site" / "linked_module.py").symlink_to(tmp_path / "elsewhere" / "module.py")
    words = [sys.executable, "-B", "-c", LINKED, tmp_path / "site", tmp_path / "elsewhere" / "secret"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "['__init__.py']", done.stderr
    assert done.stdout.splitlines()[1].startswith("files it opened the file ") and "secret" in done.stdout


# What compiled code does without an audit event: to a file, to a port that another process listens to, and to any port.
READS = "torch.from_file({!r}, size=6, dtype=torch.uint8)"
WRITES = "torch.from_file({!r}, shared=True, size=6, dtype=torch.uint8).zero_()"
CONNECTS = "torch.distributed.TCPStore('127.0.0.1', {}, is_master=False, timeout=datetime.timedelta(seconds=1))"
SERVES = "torch.distributed.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)"
UNSEEN = "import datetime, torch\n    {}\n    return x"


@pytest.mark.skipif(landlock.abi() < 4, reason="needs Linux 6.7, which refuses it to compiled code")
def test_what_python_does_not_see_the_system_refuses(table, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused = {
            READS.format(str(secret)): "Permission denied",
            WRITES.format(str(secret)): "Permission denied",
            CONNECTS.format(server.getsockname()[1]): "",
            SERVES: "",
        }
        for code, words in refused.items():
            match = table.attack(ATTACK + UNSEEN.format(code))
            assert match.outcome == "crashed" and words in match.reason and match.fooled == 0, code
        server.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has called
            server.accept()
    assert secret.read_bytes() == b"secret"


def test_python_does_not_see_it(tmp_path):
    """Else the test above would say nothing of the system."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        todo = [READS.format(str(secret)), SERVES, WRITES.format(str(secret))]
        tried = f"import datetime, sys, torch\nsys.addaudithook(lambda event, args: print(event))\n{'; '.join(todo)}"
        done = subprocess.run([sys.executable, "-c", tried], capture_output=True, text=True, check=True)
        calling = f"import datetime, torch\n{CONNECTS.format(server.getsockname()[1])}"
        caller = subprocess.Popen([sys.executable, "-c", calling], stderr=subprocess.DEVNULL)
        server.settimeout(60)
        server.accept()
    caller.wait()
    assert secret.read_bytes() == bytes(6)
    assert not re.search(r"^(open|socket\.)", done.stdout, re.M)


# ------------------------------------------------------------------------------------------------------ defences
NET = "import torch\nfrom torch import nn\nfrom advlib.models.nets import signs_linear\n"
GUARDED = """
class Guarded(nn.Sequential):
    def forward(self, x):
        {}


def make():
    return Guarded(*signs_linear())
"""
PLAIN = "def make(): return signs_linear()"
REPLACED = "import advlib.attacks\nadvlib.attacks.fgsm = lambda model, x, *_: x\n"
BAD_DEFENSES = {
    "has no such function": ("", "crashed", "net.py has none of that name"),
    "raises": ("def make(): raise OSError('no')", "crashed", "OSError: no (line 4 of net.py)"),
    "is no network": ("def make(): return 3", "crashed", "returned a int; expected a torch.nn.Module"),
    "does not fit": ("def make(): return nn.Linear(2, 2)", "crashed", "model.safetensors does not fit net.py:make"),
    "reads a file": ("open('/etc/passwd')\n" + PLAIN, "files", "/etc/passwd"),
    "replaces the library": (REPLACED + PLAIN, "tampered", "it replaced advlib.attacks.fgsm, on which attacks rely"),
    "replaces torch": ("torch.Tensor.sign = torch.clone\n" + PLAIN, "tampered", "Tensor.sign"),
    "gives images": (GUARDED.format("return x"), "shape", "expected logits"),
    "gives too few classes": (GUARDED.format("return super().forward(x)[:, :3]"), "shape", "(4, 3); expected (4, 16)"),
    "gives NaN": (GUARDED.format("return super().forward(x) * float('nan')"), "NaN", "NaN or infinite logits"),
    "hangs": ("def make():\n    while True: pass", "hung", "more than 1 seconds"),
}


@pytest.mark.parametrize("what", BAD_DEFENSES)
def test_a_defence_that(what, table):
    code, outcome, words = BAD_DEFENSES[what]
    match = table.organiser.clean(table.defense(NET + code))
    assert (match.outcome, match.at_fault) == (outcome, "defense") and words in match.reason
    assert not any(match.right)


def test_a_defence_that_fails_only_under_attack_loses_to_the_house(table):
    shy = table.defense(
        NET + GUARDED.format("if x.requires_grad: raise RuntimeError('go away')\n        return super().forward(x)")
    )
    assert all(table.organiser.clean(shy).right)
    match = table.house(shy)
    assert (match.outcome, match.at_fault, match.fooled) == ("crashed", "defense", 4)
    assert match.reason.startswith("the house's attack fgsm could not be run on it: ") and "go away" in match.reason


def test_a_defence_without_a_gradient_is_no_fault_and_no_defence(table):
    steps = table.defense(NET + GUARDED.format("return super().forward((x * 255).round() / 255)"))
    assert all(table.organiser.clean(steps).right)
    assert table.house(steps).outcome == "" and table.house(steps).fooled == 0
    assert table.house(steps, "worst_case").fooled >= 3 and table.house(table.linear, "worst_case").fooled == 4


def test_a_defence_that_breaks_on_attacked_images_has_misread_them(table):
    """It knows them by their noise, and the attacker is not told."""
    steps = lambda x: float((x[..., 1:] - x[..., :-1]).abs().mean())
    brittle = table.defense(NET + GUARDED.format(
        "noise = (x[..., 1:] - x[..., :-1]).abs().mean()\n"
        f"        assert torch.is_grad_enabled() or noise < {steps(table.organiser.images.x) + 1e-4}\n"
        "        return super().forward(x)"
    ))  # fmt: skip
    assert all(table.organiser.clean(brittle).right)
    match = table.house(brittle)
    assert (match.outcome, match.at_fault, match.fooled) == (
        "crashed",
        "defense",
        4,
    ) and "AssertionError" in match.reason


def test_a_defence_remembers_nothing_from_match_to_match(table):
    """It would answer for the nearest image that it has seen before, which is the clean one."""
    memory = NET + GUARDED.format(
        "seen = nn.__dict__.setdefault('seen', [])\n        if seen: x = seen[0][:len(x)]\n        seen.append(x)\n"
        "        return super().forward(x)"
    )
    keen = table.defense(memory)
    assert all(table.organiser.clean(keen).right)
    bare = table.house(table.linear)
    assert table.attack(FGSM, keen).fooled == table.attack(FGSM).fooled == bare.fooled > 0


FGSM = """
import torch
def attack(model, x, y, within):
    weight = model[1].weight.view(16, 3, 48, 48)
    gradient = (weight.mean(0) - weight[y])
    return (x + within.eps * gradient.sign()).clamp(0, 1)
"""


def test_a_defence_has_no_labels_and_no_seed_to_make_them_from(table):
    told = table.defense(
        NET
        + "import gc, json, sys\nfrom advlib.tournament.matches import secret\n"
        + GUARDED.format("return super().forward(x)")
    )
    assert all(table.organiser.clean(told).right)
    job = table.organiser.warden.folder / "input"
    import safetensors.torch

    assert set(safetensors.torch.load_file(job)) == {"x"}


def test_passes_are_limited(table):
    from dataclasses import replace

    table.organiser.rules = replace(table.organiser.rules, passes=10)
    ten = "for _ in range({}):\n        try: model(x)\n        except Exception: pass\n    return x"
    assert table.attack(ATTACK + ten.format(10)).passes == 40
    match = table.attack(ATTACK + ten.format(11))
    assert (match.outcome, match.reason) == ("passes", "it took more than 10 passes of the model for each image")
    copied = "import copy\n    model = copy.deepcopy(model)\n    " + ten.format(11)
    assert table.attack(ATTACK + copied).outcome == "passes"
