"""A plugin is validated when it is chosen, and asked alone; what it does wrong names the flag and its maker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher_core.errors import PluginError, UsageError
from launcher_core.hooks.manager import Plugin, Plugins
from launcher_core.hooks.ports import Declaration
from launcher_core.model.capability import Capability

Make = Callable[..., Path]
Module = Callable[[str, str], Path]
Choose = Callable[..., Plugin]

GROUPS = ("rendezvous", "stores", "logs_specs", "start_methods", "event_recorders", "policies")
MARK = "from launcher_core import hookimpl\n"
RECORDER = """
class Recorder:
    def __init__(self, *given): self.given = given
    def record(self, event): pass
    def close(self): pass
"""


@pytest.fixture
def choose(make: Make, module: Module, monkeypatch: pytest.MonkeyPatch) -> Choose:
    """`choose(source, group, value, plugins=...)`: the plugin that a module with this source is chosen as."""
    points = "".join(f"[launcher.{group}]\nmine = chosen\nobject = chosen:plugin\n" for group in GROUPS)
    monkeypatch.syspath_prepend(make("site/outside-1.0.dist-info", points, name="Outside"))

    def chosen(
        source: str, group: str = "event_recorders", name: str = "mine", plugins: Plugins | None = None
    ) -> Plugin:
        if "chosen" not in sys.modules:
            module("chosen", MARK + source)
        return (plugins or Plugins()).choose(f"launcher.{group}", name)

    return chosen


def refusal(call: Callable[[], Any], kind: type[Exception] = PluginError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return str(caught.value)


def test_a_module_is_asked_with_the_arguments_it_takes(choose: Choose) -> None:
    plugin = choose(RECORDER + "@hookimpl\ndef launcher_make_recorder(log_dir):\n    return Recorder(log_dir)\n")

    assert plugin.ask("launcher_make_recorder", argument="a", log_dir="b").given == ("b",)


def test_an_object_is_asked_like_a_module(choose: Choose) -> None:
    source = RECORDER + (
        "class Plugin:\n    @hookimpl\n    def launcher_make_recorder(self, argument):\n        "
        "return Recorder(self, argument)\n\nplugin = Plugin()\n"
    )

    plugin = choose(source, name="object")

    made = plugin.ask("launcher_make_recorder", argument="a", log_dir=None)
    assert made.given == (sys.modules["chosen"].plugin, "a")


def test_a_function_marked_by_pluggys_own_marker_needs_nothing_of_the_launcher(choose: Choose) -> None:
    source = RECORDER + (
        "import pluggy\n@pluggy.HookimplMarker('launcher')\ndef launcher_make_recorder():\n    return Recorder()\n"
    )

    assert choose(source).has("launcher_make_recorder")


def test_one_plugin_may_be_chosen_for_several_groups_and_under_several_names(choose: Choose) -> None:
    source = RECORDER + (
        "import sys\n@hookimpl\ndef launcher_make_recorder():\n    return Recorder()\n"
        "@hookimpl\ndef launcher_admit(node):\n    return 'no'\n\nplugin = sys.modules[__name__]\n"
    )
    plugins = Plugins()

    chosen = [
        choose(source, plugins=plugins),
        choose(source, name="object", plugins=plugins),
        choose(source, "policies", plugins=plugins),
    ]

    assert plugins.chosen == chosen
    assert [plugin.has("launcher_admit") for plugin in chosen] == [True, True, True]
    assert chosen[2].ask("launcher_admit", node=None, round=0) == "no"


def test_a_plugin_is_asked_alone(choose: Choose) -> None:
    source = RECORDER + (
        "@hookimpl\ndef launcher_make_recorder():\n    return Recorder('module')\n"
        "class Plugin:\n    @hookimpl\n    def launcher_make_recorder(self):\n        return Recorder('object')\n"
        "plugin = Plugin()\n"
    )
    plugins = Plugins()
    one, other = choose(source, plugins=plugins), choose(source, name="object", plugins=plugins)

    made = [plugin.ask("launcher_make_recorder", argument=None, log_dir=None) for plugin in (one, other, one)]

    assert [recorder.given for recorder in made] == [("module",), ("object",), ("module",)]


def test_a_hook_that_a_plugin_does_not_implement_answers_none(choose: Choose) -> None:
    plugin = choose("@hookimpl\ndef launcher_admit(round):\n    return f'not round {round}'\n", "policies")

    assert plugin.ask("launcher_worker_env", worker=None, place=None) is None
    assert plugin.ask("launcher_judge", failure={}, budget={}) is None
    assert plugin.ask("launcher_admit", node=None, round=3) == "not round 3"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return None", Declaration()),
        ("return {}", Declaration()),
        ("return {'capabilities': ['COMMANDS', 'FUNCTIONS']}", Declaration(Capability.COMMANDS | Capability.FUNCTIONS)),
        ("return {'capabilities': 'ELASTIC'}", Declaration(Capability.ELASTIC)),
        (
            "from launcher_core import Capability; return {'capabilities': Capability.ELASTIC | Capability.PUSHES}",
            Declaration(Capability.ELASTIC | Capability.PUSHES),
        ),
        ("return {'keys': {'port': 'where'}}", Declaration(Capability.NONE, {"port": "where"})),
        (
            "from launcher_core import Capability, Declaration; return Declaration(Capability.PUSHES, {})",
            Declaration(Capability.PUSHES, {}),
        ),
    ],
)
def test_a_plugin_declares_what_it_can_by_a_declaration_or_a_dict(
    body: str, expected: Declaration, choose: Choose
) -> None:
    source = f"@hookimpl\ndef launcher_declare():\n    {body}\n@hookimpl\ndef launcher_make_starter():\n    pass\n"

    assert choose(source, "start_methods").declaration() == expected


def test_a_plugin_without_a_declaration_declares_nothing(choose: Choose) -> None:
    plugin = choose("@hookimpl\ndef launcher_make_starter():\n    pass\n", "start_methods")

    assert plugin.declaration() == Declaration()


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        (
            "{'capabilities': ['COMMAND']}",
            "declares 'COMMAND', which is no capability; there are ELASTIC, RANKS_FIXED, SHARES_STORE, "
            "SURVIVES_HOST_LOSS, PUSHES, WATCH, LEASE, FUNCTIONS, COMMANDS",
        ),
        (
            "{'capability': []}",
            "declares {'capability': []}; launcher_declare has to return a Declaration, or a dict with capabilities "
            "and keys",
        ),
        (
            "('COMMANDS',)",
            "declares ('COMMANDS',); launcher_declare has to return a Declaration, or a dict with capabilities and "
            "keys",
        ),
    ],
)
def test_a_declaration_that_means_nothing_is_refused(declared: str, sentence: str, choose: Choose) -> None:
    source = (
        f"@hookimpl\ndef launcher_declare():\n    return {declared}\n"
        "@hookimpl\ndef launcher_make_starter():\n    pass\n"
    )
    plugin = choose(source, "start_methods")

    assert refusal(plugin.declaration) == f"--start-method=mine: the plugin of Outside 1.0 {sentence}"


@pytest.mark.parametrize(
    ("group", "hook", "body", "sentence"),
    [
        (
            "event_recorders",
            "launcher_make_recorder",
            "return None",
            "returned nothing from launcher_make_recorder, which is no Recorder: it has no record and no close",
        ),
        (
            "event_recorders",
            "launcher_make_recorder",
            "import io; return io.StringIO()",
            "returned StringIO from launcher_make_recorder, which is no Recorder: it has no record",
        ),
        (
            "start_methods",
            "launcher_make_starter",
            "return object()",
            "returned object from launcher_make_starter, which is no Starter: it has no start and no close",
        ),
        (
            "logs_specs",
            "launcher_make_logs_specs",
            "return 'logs'",
            "returned str from launcher_make_logs_specs, which is no LogsSpecs: it has no reify",
        ),
        (
            "stores",
            "launcher_make_store",
            "return {}",
            "returned dict from launcher_make_store, which is no Store: it has no serve and no connect",
        ),
        (
            "policies",
            "launcher_make_watch",
            "return True",
            "returned bool from launcher_make_watch, which is no Watch: it has no start and no stop",
        ),
    ],
)
def test_what_is_made_has_to_have_the_shape_it_is_used_by(
    group: str, hook: str, body: str, sentence: str, choose: Choose
) -> None:
    plugin = choose(f"@hookimpl\ndef {hook}():\n    {body}\n", group)
    arguments = {"argument": None, "log_dir": None, "config": None, "params": None}

    error = refusal(lambda: plugin.ask(hook, **arguments))

    assert error.partition(": ")[2] == f"the plugin of Outside 1.0 {sentence}"


@pytest.mark.parametrize(
    ("hook", "answer", "wanted"),
    [
        ("launcher_admit", "True", "a text that says why, or None"),
        ("launcher_judge", "'Stop'", "'restart', 'stop' or None"),
        ("launcher_worker_env", "{'A': 1}", "names with values, all of them texts"),
        ("launcher_worker_env", "{1: 'A'}", "names with values, all of them texts"),
        ("launcher_worker_env", "['A=1']", "names with values, all of them texts"),
    ],
)
def test_what_a_policy_answers_has_to_mean_something(hook: str, answer: str, wanted: str, choose: Choose) -> None:
    plugin = choose(f"@hookimpl\ndef {hook}():\n    return {answer}\n", "policies")
    names = ("node", "round", "failure", "budget", "worker", "place")

    error = refusal(lambda: plugin.ask(hook, **dict.fromkeys(names)))

    assert error == (
        f"--policy=mine: the plugin of Outside 1.0 returned {answer} from {hook}, which has to be {wanted}"
    )


@pytest.mark.parametrize(
    ("hook", "answer"),
    [
        ("launcher_admit", "full"),
        ("launcher_admit", ""),
        ("launcher_judge", "restart"),
        ("launcher_judge", "stop"),
        ("launcher_worker_env", {"A": "1"}),
        ("launcher_worker_env", {}),
    ],
)
def test_what_a_policy_may_answer(hook: str, answer: object, choose: Choose) -> None:
    plugin = choose(f"@hookimpl\ndef {hook}():\n    return {answer!r}\n", "policies")
    names = ("node", "round", "failure", "budget", "worker", "place")

    assert plugin.ask(hook, **dict.fromkeys(names)) == answer


def test_a_policy_may_have_no_watch_to_offer(choose: Choose) -> None:
    plugin = choose("@hookimpl\ndef launcher_make_watch():\n    return None\n", "policies")

    assert plugin.ask("launcher_make_watch", config=None) is None


@pytest.mark.parametrize(
    ("raised", "kind", "sentence"),
    [
        ("ValueError('no such thing')", UsageError, "--event-log-handler=mine: no such thing"),
        ("ValueError", UsageError, "--event-log-handler=mine: ValueError"),
        ("OSError(2, 'No such file or directory', 'x')", UsageError,
         "--event-log-handler=mine: [Errno 2] No such file or directory: 'x'"),
        ("ModuleNotFoundError(name='kafka')", PluginError,
         "--event-log-handler=mine: the plugin of Outside 1.0 needs kafka, which is not installed: pip install kafka"),
        ("SystemExit(3)", PluginError,
         "--event-log-handler=mine: the plugin of Outside 1.0 ended the program in launcher_make_recorder: "
         "SystemExit: 3"),
    ],
)  # fmt: skip
def test_an_error_that_is_about_the_request_becomes_ours(
    raised: str, kind: type[Exception], sentence: str, choose: Choose
) -> None:
    plugin = choose(f"@hookimpl\ndef launcher_make_recorder():\n    raise {raised}\n")

    assert refusal(lambda: plugin.ask("launcher_make_recorder", argument=None, log_dir=None), kind) == sentence


def test_any_other_error_passes_with_a_note_that_says_whose_it_is(choose: Choose) -> None:
    plugin = choose("@hookimpl\ndef launcher_make_recorder():\n    raise KeyError('x')\n")

    with pytest.raises(KeyError) as caught:
        plugin.ask("launcher_make_recorder", argument=None, log_dir=None)

    assert caught.value.__notes__ == ["raised by launcher_make_recorder of plugin mine (Outside 1.0)"]


def test_an_error_of_the_launchers_own_kind_passes_as_it_is(choose: Choose) -> None:
    plugin = choose(
        "from launcher_core.errors import UsageError\n"
        "@hookimpl\ndef launcher_make_recorder():\n    raise UsageError('as it is')\n"
    )

    error = refusal(lambda: plugin.ask("launcher_make_recorder", argument=None, log_dir=None), UsageError)

    assert error == "as it is"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("", "does not implement launcher_make_recorder(argument: str | None, log_dir: str | None) -> Recorder; it "
         "implements no hook at all"),
        ("@hookimpl\ndef launcher_declare():\n    pass\n@hookimpl\ndef launcher_admit():\n    pass\n",
         "does not implement launcher_make_recorder(argument: str | None, log_dir: str | None) -> Recorder; it "
         "implements launcher_admit, launcher_declare"),
        ("def launcher_make_recorder():\n    pass\n",
         "does not implement launcher_make_recorder(argument: str | None, log_dir: str | None) -> Recorder: its "
         "launcher_make_recorder is not marked with @launcher_core.hookimpl"),
        ("@hookimpl\ndef launcher_make_recorders():\n    pass\n",
         "implements launcher_make_recorders, which is no hook; did you mean "
         "launcher_make_recorder(argument: str | None, log_dir: str | None) -> Recorder?"),
        ("@hookimpl\ndef something_else():\n    pass\n",
         "does not implement launcher_make_recorder(argument: str | None, log_dir: str | None) -> Recorder: its "
         "something_else is marked as a hook, but only names that begin with launcher_ are hooks"),
        ("@hookimpl\ndef launcher_zzz():\n    pass\n",
         "implements launcher_zzz, which is no hook; there are launcher_declare, launcher_make_rendezvous, "
         "launcher_make_store, launcher_make_logs_specs, launcher_make_starter, launcher_make_recorder, "
         "launcher_admit, launcher_assign_ranks, launcher_judge, launcher_preempted, launcher_worker_env, "
         "launcher_make_watch"),
        ("@hookimpl\ndef launcher_make_recorder(path, log_dir, mode):\n    pass\n",
         "takes 'path' and 'mode' in launcher_make_recorder, which has no such argument: "
         "launcher_make_recorder(argument: str | None, log_dir: str | None) -> Recorder"),
        ("@hookimpl(specname='launcher_make_recoder')\ndef launcher_make():\n    pass\n",
         "implements launcher_make_recoder, which is no hook; did you mean "
         "launcher_make_recorder(argument: str | None, log_dir: str | None) -> Recorder?"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_would(source: str, sentence: str, choose: Choose) -> None:
    assert refusal(lambda: choose(source)) == f"--event-log-handler=mine: the plugin of Outside 1.0 {sentence}"


def test_a_hook_of_a_later_version_may_be_implemented_as_optional(choose: Choose) -> None:
    source = (
        "@hookimpl\ndef launcher_make_recorder():\n    pass\n"
        "@hookimpl(optionalhook=True)\ndef launcher_of_tomorrow():\n    pass\n"
    )

    assert choose(source).has("launcher_make_recorder")


def test_an_object_that_cannot_be_kept_in_a_set_is_refused(choose: Choose) -> None:
    source = (
        "class Plugin:\n    __hash__ = None\n    @hookimpl\n    def launcher_make_recorder(self):\n        pass\n\n"
        "plugin = Plugin()\n"
    )

    assert refusal(lambda: choose(source, name="object")) == (
        "--event-log-handler=object: the plugin of Outside 1.0 cannot be registered: TypeError: unhashable type: "
        "'Plugin'"
    )


def test_nothing_of_an_object_but_its_hooks_has_to_work(choose: Choose) -> None:
    source = RECORDER + (
        "class Plugin:\n    @property\n    def broken(self):\n        raise RuntimeError('do not look')\n"
        "    @hookimpl\n    def launcher_make_recorder(self):\n        return Recorder()\n\nplugin = Plugin()\n"
    )

    plugin = choose(source, name="object")

    assert plugin.ask("launcher_make_recorder", argument=None, log_dir=None).given == ()
