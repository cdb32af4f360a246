"""What stands in two places of the repository stands there alike."""

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import advlib

ROOT = Path(__file__).resolve().parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_to_cite_is_the_package_s() -> None:
    assert yaml.safe_load(read("CITATION.cff"))["version"] == advlib.__version__


def test_every_make_command_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.M))
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".github/pull_request_template.md"):
        # In code: on a line of its own, or behind a backtick.
        named = set(re.findall(r"(?:`|^)make ([a-z]+)", read(page), re.M))
        assert named and named <= targets, f"{page} names {', '.join(sorted(named - targets))}"


def test_every_module_that_make_runs_can_be_imported() -> None:
    run = sorted(set(re.findall(r"-m ((?:tests|book)[\w.]+)", read("Makefile"))))
    mains = [f"{name}.__main__" if (ROOT / name.replace(".", "/")).is_dir() else name for name in run]
    assert len(mains) >= 6
    imported = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(mains)}"], cwd=ROOT, capture_output=True, text=True
    )
    assert imported.returncode == 0, imported.stderr
    assert not imported.stdout, f"what is imported only to be looked at began its work: {imported.stdout}"


def test_requirements_allow_what_the_package_allows_of_torch() -> None:
    for name in ("torch", "torchvision"):
        package = re.search(rf'"{name}(>=[\d.]+,<\d+)"', read("pyproject.toml"))
        course = re.search(rf"^{name}(>=[\d.]+,<\d+)$", read("requirements.txt"), re.M)
        assert package[1] == course[1], f"{name}: pyproject.toml has {package[1]}, requirements.txt {course[1]}"


def test_the_lock_has_one_version_of_each_package_and_it_is_one_that_is_allowed() -> None:
    lines = read("requirements.lock").splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+]+", line) for line in lines), "make lock writes requirements.lock"
    locked = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(locked) == len(lines)
    asked = [line for line in read("requirements.txt").splitlines() if re.match(r"\w", line)]
    asked += re.findall(r'^    "([\w-]+[<>=][^"]*)",', read("pyproject.toml"), re.M)
    assert len(asked) > 20
    for one in map(Requirement, asked):
        version = locked.get(canonicalize_name(one.name))
        assert version in one.specifier, f"{one}: requirements.lock has {version}; make lock writes it anew"


def test_every_package_of_the_pages_javascript_has_its_hash() -> None:
    packages = json.loads(read("book/_ext/package-lock.json"))["packages"]
    assert [name for name, one in packages.items() if name and not one.get("integrity", "").startswith("sha512-")] == []
    assert len(packages) > 10


def test_binder_has_what_the_package_needs_in_the_versions_that_it_allows() -> None:
    listed = yaml.safe_load(read(".binder/environment.yml"))["dependencies"]
    here = {one.name: one.specifier for one in (Requirement(line.replace("python=", "python==")) for line in listed)}
    theirs = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}  # names on conda-forge
    asked = map(Requirement, re.findall(r'^    "([\w-]+[<>=][^"]*)",', read("pyproject.toml"), re.M))
    package = {theirs.get(one.name, one.name): one.specifier for one in asked if one.name != "ipywidgets"}
    assert len(package) > 7 and {name: here.get(name) for name in package} == package
    course = next(map(Requirement, re.findall(r"^ipywidgets.*$", read("requirements.txt"), re.M)))
    assert here["ipywidgets"] == course.specifier  # 8 alone


def test_binder_installs_the_package_by_a_script_that_may_run() -> None:
    script = ROOT / ".binder" / "postBuild"
    assert script.read_text().startswith("#!/bin/bash\n") and "pip install" in script.read_text()
    listed = subprocess.run(["git", "ls-files", "--stage", script], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        assert listed.stdout.startswith("100755"), "repo2docker runs it only if it is executable"
