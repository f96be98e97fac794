"""What the README shows was really printed, and is still."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONSOLE = re.compile(r"^```console\n\$ launcher (.*)\n((?:.*\n)*?)```$", re.MULTILINE)


def shown() -> list[tuple[str, str]]:
    """(arguments, output) of every example with output in the README."""
    return CONSOLE.findall((ROOT / "README.md").read_text())


def neutral(text: str) -> list[str]:
    """The lines without what differs from run to run and machine to machine, in an order of their own."""
    text = text.replace(sys.executable, "python")
    text = text.replace(f"{ROOT}/", "").replace(f"on {socket.gethostname()}", "on HOST")
    text = re.sub(r"launcher: time: .*", "launcher: time: ...", re.sub(r"pid \d+", "pid N", text))
    text = re.sub(r"(stacks   rank 0:) .*", r"\1 ...", re.sub(r"all of it: .*/", "all of it: ", text))
    return sorted(line.rstrip() for line in text.splitlines() if line.strip())


def run(arguments: str) -> str:
    """What the launcher prints for the arguments, both streams, run in the checkout."""
    command = [sys.executable, "-m", "launcher_core", *shlex.split(arguments)]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60
    )
    return done.stdout.decode()


def test_the_readme_has_examples():
    assert [arguments.split()[-1] for arguments, _ in shown()] == ["examples/pi.py", "examples/flaky.py", "stubborn"]


@pytest.mark.parametrize("arguments, output", shown())
def test_an_example_prints_what_the_readme_shows(arguments, output, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    # the README's machine is called node-3
    assert neutral(run(arguments)) == neutral(output.replace("on node-3", "on HOST"))


def test_the_python_example_returns_what_its_comment_says(tmp_path):
    (example,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (said,) = re.findall(r"  # (.*)$", example, re.MULTILINE)
    (tmp_path / "example.py").write_text(example)
    words = [sys.executable, "example.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{said}\n", "")


def test_the_tutorials_recorder_writes_what_the_tutorial_shows(launcher, distributions):
    text = (ROOT / "docs" / "plugin_tutorial.md").read_text()
    (source,) = re.findall(r"`launcher_states.py`:\n\n```python\n(.*?)```", text, re.DOTALL)
    (points,) = re.findall(r"\[options.entry_points\]\n(.*?)```", text, re.DOTALL)
    shown = r"^\$ launcher (--event.*)\n\$ cat states.txt\n((?:[A-Z_ ]+\n)+)"
    ((command, said),) = re.findall(shown, text, re.MULTILINE)
    group, _, point = points.partition(" =\n")
    distributions.install("launcher-states", f"[{group}]\n{point.strip()}\n", launcher_states=source)
    (launcher.tmp / "train.py").write_text("")
    launcher.run(*shlex.split(command))
    assert (launcher.tmp / "states.txt").read_text() == said


if __name__ == "__main__":  # writes the README's outputs anew
    text = (ROOT / "README.md").read_text()
    for arguments, output in shown():
        fresh = (
            run(arguments)
            .replace(sys.executable, "python")
            .replace(f"{ROOT}/", "")
            .replace(f"on {socket.gethostname()}", "on node-3")
        )
        block = f"```console\n$ launcher {arguments}\n"
        text = text.replace(block + output + "```", block + fresh + "```")
    (ROOT / "README.md").write_text(text)
