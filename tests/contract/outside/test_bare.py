"""No behaviour lives in the core: without its own plugins it can do nothing, and with others' everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher
from sites import BareSite

ALONE = "--rdzv-backend=outside-alone"
FILES = "--logs-specs=outside-files --log-dir=logs"
POPEN = "--start-method=outside-popen"
LINES = "--event-log-handler=outside-lines=lines"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> BareSite:
    """An environment whose launcher came without any plugin."""
    return BareSite(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def foreign(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> BareSite:
    """The same, with the plugins of one other distribution."""
    site = BareSite(tmp_path_factory.mktemp("foreign"))
    site.install(built["plugin"])
    return site


@pytest.fixture
def launcher_of_it(launcher_of: Callable[[Path], Launcher]) -> Callable[[BareSite], Launcher]:
    """Makes launchers that see nothing but the environment."""

    def make(site: BareSite) -> Launcher:
        launcher = launcher_of(site.python)
        launcher.env.pop("PYTHONPATH", None)
        return launcher

    return make


@pytest.mark.parametrize(
    ("words", "flag", "group"),
    [
        ("", "--rdzv-backend=c10d", "launcher.rendezvous"),
        ("--rdzv-backend=static --master-port=29500", "--rdzv-backend=static", "launcher.rendezvous"),
    ],
)
def test_a_core_without_plugins_says_where_the_usual_ones_are(
    words: str,
    flag: str,
    group: str,
    empty: BareSite,
    launcher_of_it: Callable[[BareSite], Launcher],
    script: Callable[[str], Path],
) -> None:
    done = launcher_of_it(empty).run(*words.split(), script("print('started')"))

    assert (done.code, done.out, done.err) == (
        2,
        "",
        f"launcher: error: {flag}: no plugin of that name is installed ({group}); none is: pip install launcher-core "
        "brings the usual ones\n",
    )


def test_a_policy_is_nothing_that_the_core_could_bring(
    empty: BareSite, launcher_of_it: Callable[[BareSite], Launcher], script: Callable[[str], Path]
) -> None:
    done = launcher_of_it(empty).run("--policy=any", script("print('started')"))

    assert (done.code, done.out, done.err) == (
        2,
        "",
        "launcher: error: --policy=any: no plugin of that name is installed (launcher.policies); none is\n",
    )


def test_a_core_without_plugins_lists_none(empty: BareSite, launcher_of_it: Callable[[BareSite], Launcher]) -> None:
    done = launcher_of_it(empty).run("--list-plugins")

    assert (done.code, done.out, done.err) == (0, "group  name  distribution  version  file\n", "")


@pytest.mark.parametrize(
    ("words", "flag", "installed"),
    [
        ("", "--rdzv-backend=c10d", "outside-alone"),
        ("--rdzv-backend=outside-sharing", "--rdzv-conf store=c10d", ""),
        (ALONE, "--logs-specs=default", "outside-files"),
        (f"{ALONE} {FILES}", "--start-method=exec", "outside-failing"),
        (f"{ALONE} {FILES} --run-path", "--start-method=spawn", "outside-failing"),
        (f"{ALONE} {FILES} {POPEN}", "--event-log-handler=null", "outside-closing-badly"),
    ],
)
def test_every_flag_says_that_its_default_is_not_installed(
    words: str,
    flag: str,
    installed: str,
    foreign: BareSite,
    launcher_of_it: Callable[[BareSite], Launcher],
    script: Callable[[str], Path],
) -> None:
    launcher = launcher_of_it(foreign)

    done = launcher.run(*words.split(), script("print('started')"))

    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"launcher: error: {flag}: no plugin of that name is installed (launcher.")
    assert (f"installed: {installed} (outside-launcher-plugin 2.5)" if installed else "none is: pip") in done.err
    assert not (launcher.tmp / "logs").exists()


def test_the_plugins_of_another_distribution_are_enough_for_a_launch(
    foreign: BareSite, launcher_of_it: Callable[[BareSite], Launcher], script: Callable[[str], Path]
) -> None:
    launcher = launcher_of_it(foreign)
    words = f"{ALONE} {FILES} {POPEN} {LINES} --policy=outside-variables --nproc-per-node=2"

    done = launcher.run(*words.split(), script("print(os.environ['STARTED_BY'], os.environ['OUTSIDE'])"))

    assert (done.code, done.out) == (0, ""), done.err
    written = {path.name: path.read_text() for path in (launcher.tmp / "logs").iterdir()}
    assert written == {"worker0.txt": "outside-popen 0 of 2\n", "worker1.txt": "outside-popen 1 of 2\n"}
    assert (launcher.tmp / "lines").read_text().splitlines()[-1] == "AGENT SUCCEEDED"


def test_with_its_own_plugins_the_store_of_a_sharing_rendezvous_is_made(
    launcher: Launcher, script: Callable[[str], Path], tmp_path: Path
) -> None:
    noted = tmp_path / "calls"

    done = launcher.run("--rdzv-backend=outside-sharing", script("pass"), env={"OUTSIDE_CALLS": str(noted)})

    assert done.code == 0, done.err
    assert noted.read_text().splitlines()[0] == "store True True"
