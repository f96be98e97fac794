"""Plugins with defects that were put there, and what the conformance kit says of them.

A module `planted_KIND.py` has a contract class for each plugin: `caught_by` names the test that has to find its
defect, "" where there is none.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parents[1] / "contract"
SECONDS = 110


class Verdict(NamedTuple):
    """What became of the tests that one class inherits: names of tests, and why those failed that did."""

    passed: list[str]
    skipped: list[str]
    failed: dict[str, str]


def planted(kind: str) -> dict[str, str]:
    """Contract class -> the test that has to fail, of the module for that kind."""
    spec = spec_from_file_location(f"planted_{kind}", HERE / f"planted_{kind}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return {name: one.caught_by for name, one in vars(module).items() if name.startswith("Test")}


def chosen(path: Path, wanted: dict[str, str]) -> list[str]:
    """For pytest: of a plugin with a defect the test that has to find it, of others all tests."""
    return [f"{path}::{name}" + (f"::{caught_by}" if caught_by else "") for name, caught_by in wanted.items()]


def verdicts(path: Path, folder: Path, words: list[str], python: Path | str = sys.executable) -> dict[str, Verdict]:
    """What a pytest of its own says of the classes in that file, or of what `words` choose from it."""
    report = folder / f"{path.stem}.xml"
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        *(words or [str(path)]),
    ]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, Verdict] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        verdict = found.setdefault(case.get("classname", "").rpartition(".")[2], Verdict([], [], {}))
        _enter(case, verdict)
    assert found, done.stdout + done.stderr
    return found


def _enter(case: Any, verdict: Verdict) -> None:
    name = case.get("name", "")
    problems = [one for one in case if one.tag in ("failure", "error")]
    if problems:
        verdict.failed[name] = problems[0].get("message", "")
    elif any(one.tag == "skipped" for one in case):
        verdict.skipped.append(name)
    else:
        verdict.passed.append(name)


def check(verdict: Verdict, caught_by: str) -> None:
    """The named test has failed, and says what is expected of the plugin; without a name none has."""
    if not caught_by:
        assert verdict.failed == {}
        return
    said = [text for name, text in verdict.failed.items() if caught_by in (name, name.partition("[")[0])]
    assert said, f"{caught_by} passes; those that fail: {list(verdict.failed)}"
    assert all("has to " in text or "must not " in text or "have to " in text for text in said), said
