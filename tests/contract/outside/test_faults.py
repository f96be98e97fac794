"""Whatever is wrong with a plugin is said in one paragraph that names flag and distribution; nothing is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher, Result
from sites import Site

CHOICES = {
    "rendezvous": ("--rdzv-backend", "--rdzv-backend={name}"),
    "stores": ("--rdzv-conf store", "--rdzv-backend=c10d --rdzv-conf=store={name}"),
    "logs_specs": ("--logs-specs", "--logs_specs={name}"),
    "start_methods": ("--start-method", "--start-method={name}"),
    "event_recorders": ("--event-log-handler", "--event-log-handler=null,{name}"),
    "policies": ("--policy", "--policy={name}"),
}
"""Group -> what its flag is called in errors, and the words that choose from it."""

HOOKS = {
    "rendezvous": "launcher_make_rendezvous(params: RendezvousParameters, store: Store | None) -> "
    "RendezvousHandler | RendezvousBackend | Meeting",
    "stores": "launcher_make_store(params: RendezvousParameters) -> Store",
    "logs_specs": "launcher_make_logs_specs(config: LogsConfig) -> LogsSpecs",
    "start_methods": "launcher_make_starter() -> Starter",
    "event_recorders": "launcher_make_recorder(argument: str | None, log_dir: str | None) -> Recorder",
    "policies": "launcher_make_watch(config: LaunchConfig) -> Watch | None",
}
"""Group -> the signature of its maker, or of a hook of policies."""

MISSPELT = {
    "rendezvous": "launcher_make_rendevous",
    "stores": "launcher_make_stores",
    "logs_specs": "launcher_make_log_specs",
    "start_methods": "launcher_make_start",
    "event_recorders": "launcher_make_recoder",
    "policies": "launcher_admitt",
}

IMPORT_FAULTS = {
    "broken": "failed to import ({package}/broken.py:3): ZeroDivisionError: integer division or modulo by zero",
    "dependent": "needs absent_dependency, which is not installed: pip install absent_dependency",
    "leaving": "failed to import ({package}/leaving.py:5): SystemExit: this plugin runs on Sundays only",
    "absent-module": "cannot be imported: its module faulty_plugin.absent does not exist; install it anew",
    "absent-attribute": "is declared as faulty_plugin.hookless:absent, but there is no absent in it; "
    "install another version",
}
MAKER_FAULTS = {
    "lazily-dependent": "the plugin of faulty-launcher-plugin 0.3 needs absent_dependency, which is not installed: "
    "pip install absent_dependency",
    "value-error": "the moon has the wrong phase; wait for the full one",
    "os-error": "[Errno 13] Permission denied: '/dev/moon'",
}


@pytest.fixture
def refused(launcher: Launcher, script: Callable[[str], Path], tmp_path: Path) -> Callable[[str, str], tuple[int, str]]:
    """The exit code and error of a launch with a plugin of a group; fails the test when anything was started."""

    def launch(group: str, name: str) -> tuple[int, str]:
        worker, logs = script(f"open({str(tmp_path / 'started')!r}, 'w')"), tmp_path / "logs"
        done: Result = launcher.run(*CHOICES[group][1].format(name=name).split(), f"--log-dir={logs}", worker)
        assert (done.out, list(tmp_path.glob("started")), list(tmp_path.glob("logs"))) == ("", [], [])
        return done.code, done.err

    return launch


@pytest.mark.parametrize("group", CHOICES)
def test_a_name_that_nothing_has_is_refused_with_what_is_installed(
    group: str, refused: Callable[[str, str], tuple[int, str]]
) -> None:
    code, error = refused(group, "lazily-dependant")

    assert code == 2
    assert error.startswith(
        f"launcher: error: {CHOICES[group][0]}=lazily-dependant: no plugin of that name is installed "
        f"(launcher.{group}); did you mean lazily-dependent? installed: "
    )
    assert "value-error (faulty-launcher-plugin 0.3)" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("fault", IMPORT_FAULTS)
@pytest.mark.parametrize("group", CHOICES)
def test_a_plugin_that_cannot_be_imported_is_refused_with_the_cause(
    group: str, fault: str, crowded: Site, refused: Callable[[str, str], tuple[int, str]]
) -> None:
    cause = IMPORT_FAULTS[fault].format(package=crowded.packages / "faulty_plugin")
    expected = f"launcher: error: {CHOICES[group][0]}={fault}: the plugin of faulty-launcher-plugin 0.3 {cause}\n"

    assert refused(group, fault) == (2, expected)


@pytest.mark.parametrize("group", [group for group in CHOICES if group != "policies"])
def test_a_plugin_without_its_hook_is_refused_with_the_signature_and_what_it_has(
    group: str, refused: Callable[[str, str], tuple[int, str]]
) -> None:
    expected = (
        f"launcher: error: {CHOICES[group][0]}=hookless: the plugin of faulty-launcher-plugin 0.3 does not implement "
        f"{HOOKS[group]}; it implements no hook at all\n"
    )

    assert refused(group, "hookless") == (2, expected)


def test_a_policy_without_any_policy_hook_is_refused(refused: Callable[[str, str], tuple[int, str]]) -> None:
    expected = (
        "launcher: error: --policy=hookless: the plugin of faulty-launcher-plugin 0.3 implements no policy hook; it "
        "implements no hook at all; there are launcher_admit, launcher_assign_ranks, launcher_judge, "
        "launcher_preempted, launcher_worker_env, launcher_make_watch\n"
    )

    assert refused("policies", "hookless") == (2, expected)


@pytest.mark.parametrize("group", CHOICES)
def test_a_plugin_that_forgot_to_mark_its_hook_is_told_so(
    group: str, refused: Callable[[str, str], tuple[int, str]]
) -> None:
    hook = HOOKS[group].partition("(")[0]
    what = "implements no policy hook" if group == "policies" else f"does not implement {HOOKS[group]}"
    expected = (
        f"launcher: error: {CHOICES[group][0]}=unmarked: the plugin of faulty-launcher-plugin 0.3 {what}: its {hook} "
        "is not marked with @launcher_core.hookimpl\n"
    )

    assert refused(group, "unmarked") == (2, expected)


@pytest.mark.parametrize("group", CHOICES)
def test_a_misspelt_hook_is_refused_with_the_right_spelling(
    group: str, refused: Callable[[str, str], tuple[int, str]]
) -> None:
    meant = "launcher_admit(node: Node, round: int) -> str | None" if group == "policies" else HOOKS[group]
    expected = (
        f"launcher: error: {CHOICES[group][0]}=misspelt: the plugin of faulty-launcher-plugin 0.3 implements "
        f"{MISSPELT[group]}, which is no hook; did you mean {meant}?\n"
    )

    assert refused(group, "misspelt") == (2, expected)


@pytest.mark.parametrize("group", CHOICES)
def test_an_argument_that_the_hook_does_not_have_is_refused_with_the_signature(
    group: str, refused: Callable[[str, str], tuple[int, str]]
) -> None:
    expected = (
        f"launcher: error: {CHOICES[group][0]}=wrong-argument: the plugin of faulty-launcher-plugin 0.3 takes 'cfg' in "
        f"{HOOKS[group].partition('(')[0]}, which has no such argument: {HOOKS[group]}\n"
    )

    assert refused(group, "wrong-argument") == (2, expected)


@pytest.mark.parametrize("group", CHOICES)
def test_two_distributions_that_offer_one_name_are_both_named(
    group: str, refused: Callable[[str, str], tuple[int, str]]
) -> None:
    expected = (
        f"launcher: error: {CHOICES[group][0]}=twin: twin-one 1.1 and twin-two 1.2 install plugins of the same name "
        f"(launcher.{group}); uninstall all but one of them\n"
    )

    assert refused(group, "twin") == (2, expected)


@pytest.mark.parametrize("fault", MAKER_FAULTS)
@pytest.mark.parametrize("group", CHOICES)
def test_what_a_maker_refuses_is_bad_input_and_carries_the_flag(
    group: str, fault: str, refused: Callable[[str, str], tuple[int, str]]
) -> None:
    expected = f"launcher: error: {CHOICES[group][0]}={fault}: {MAKER_FAULTS[fault]}\n"

    assert refused(group, fault) == (2, expected)


@pytest.mark.parametrize("group", CHOICES)
def test_a_maker_that_ends_the_program_is_refused(group: str, refused: Callable[[str, str], tuple[int, str]]) -> None:
    expected = (
        f"launcher: error: {CHOICES[group][0]}=sys-exit: the plugin of faulty-launcher-plugin 0.3 ended the program in "
        f"{HOOKS[group].partition('(')[0]}: SystemExit: 0\n"
    )

    assert refused(group, "sys-exit") == (2, expected)


@pytest.mark.parametrize("group", CHOICES)
def test_any_other_error_of_a_maker_keeps_its_traceback_and_says_whose_it_is(
    group: str, refused: Callable[[str, str], tuple[int, str]]
) -> None:
    code, error = refused(group, "other-error")

    hook = HOOKS[group].partition("(")[0]
    assert code == 1
    assert error.startswith("Traceback (most recent call last):")
    assert error.endswith(f"KeyError: 'phase'\nraised by {hook} of plugin other-error (faulty-launcher-plugin 0.3)\n")


@pytest.mark.parametrize("group", CHOICES)
def test_what_a_maker_returns_has_to_have_the_shape_it_is_used_by(
    group: str, refused: Callable[[str, str], tuple[int, str]]
) -> None:
    code, error = refused(group, "shapeless")

    assert (code, error.count("\n")) == (2, 1)
    assert "faulty-launcher-plugin 0.3" in error
    assert "returned dict" in error
