"""What README.md, docs/ and the plugins' READMEs name is there: flags, files, sections."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launcher_core.cli.options import OPTIONS

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "plugins").glob("*/README.md"))]
NOT_OPTIONS = {
    "README.md": {"--mo", "--signal"},  # a script's own, and Slurm's
    "docs/differences.md": {"--nproc"},  # an abbreviation
    "docs/backend_tutorial.md": {"--no-header"},  # pytest's
    "docs/performance.md": {"--only", "--rounds", "--nodes"},  # the benches'
}
SHORT = {"ddp.py": "tests/interop/bin/ddp.py", "ports.py": "launcher_core/hooks/ports.py"}
"""Files that a page names after it has said in which folder."""
EXAMPLES = {
    *("launcher_states.py", "test_launcher_states.py", "launcher_drain.py", "launcher_alone.py", "worker.py"),
    *("launcher_sqlite.py", "test_launcher_sqlite.py", "launcher_sqlite_watch.py", "test_launcher_sqlite_watch.py"),
}
"""Files that the tutorials' readers write."""
FOLDERS = (".", "launcher_core", "tests", "tests/interop")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@every_page
def test_every_flag_is_an_option(page: Path) -> None:
    known = {spelling for option in OPTIONS for spelling in option.spellings}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", page.read_text()))
    assert named - known == NOT_OPTIONS.get(str(page.relative_to(ROOT)), set())


@every_page
def test_every_file_is_there(page: Path) -> None:
    shapes = r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:py|md|cfg|ini|toml))`"
    named = set(re.findall(shapes, page.read_text())) - EXAMPLES
    homes = [page.parent, *(ROOT / folder for folder in FOLDERS)]
    assert [name for name in named if not any((home / SHORT.get(name, name)).exists() for home in homes)] == []


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        name, _, section = target.partition("#")
        other = page.parent / name if name else page
        assert other.exists(), target
        headings = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
        assert not section or section in {heading.lower().replace(" ", "-") for heading in headings}, target
