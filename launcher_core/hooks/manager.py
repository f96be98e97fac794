"""Calling plugins: registered with pluggy when they are named, validated then, asked one at a time.

Whatever is wrong with a plugin is said here as an error that names its flag and its distribution, so that what a
plugin does wrong never looks like a defect of the launcher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pluggy

from launcher_core.errors import LauncherError, PluginError, UsageError
from launcher_core.hooks import specs
from launcher_core.hooks.answers import fault_in
from launcher_core.hooks.find import Installed, asked, described, load, missing, whose
from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.scan import Found
from launcher_core.model.capability import Capability

DECLARE = "launcher_declare"


class Plugin:
    """One plugin that was named: imported, validated, ready to be asked."""

    def __init__(self, manager: pluggy.PluginManager, found: Found, module: Any) -> None:
        self._manager = manager
        self.found = found
        self._module = module

    def has(self, hook: str) -> bool:
        """Whether the plugin implements the hook."""
        return any(impl.plugin is self._module for impl in self._caller(hook).get_hookimpls())

    def ask(self, hook: str, **arguments: Any) -> Any:
        """What the plugin's implementation of the hook returns; None where it has none.

        Its ValueError or OSError becomes a UsageError naming the flag, a module that it lacks a PluginError; other
        exceptions pass, with a note that says whose they are.
        """
        with self.answering(hook):
            result = self._only(hook)(**arguments)
        if not self._caller(hook).spec.opts["firstresult"]:
            result = result[0] if result else None
        fault = fault_in(hook, result)
        if fault:
            raise PluginError(f"{whose(self.found)} {fault}")
        return result

    @contextmanager
    def answering(self, what: str) -> Iterator[None]:
        """Have what this plugin's code raises, while it does that, be as `ask` says."""
        try:
            yield
        except LauncherError:
            raise
        except ModuleNotFoundError as error:
            raise PluginError(missing(self.found, error)) from error
        except (ValueError, OSError) as error:
            text = str(error) or described(error)
            raise UsageError(f"{asked(self.found)}: {text}") from error
        except SystemExit as error:
            raise PluginError(f"{whose(self.found)} ended the program in {what}: {described(error)}") from error
        except Exception as error:
            error.add_note(f"raised by {what} of plugin {self.found}")
            raise

    def declaration(self) -> Declaration:
        """What the plugin says of itself; nothing, where it does not implement launcher_declare."""
        declared = self.ask(DECLARE)
        if declared is None:
            return Declaration()
        if isinstance(declared, Declaration):
            return declared
        if not isinstance(declared, Mapping) or not set(declared) <= set(Declaration._fields):
            raise PluginError(
                f"{whose(self.found)} declares {declared!r}; {DECLARE} has to return a Declaration, or a dict with "
                f"{' and '.join(Declaration._fields)}"
            )
        return Declaration(self._capabilities(declared.get("capabilities", ())), declared.get("keys"))

    def _capabilities(self, named: Any) -> Capability:
        """The capabilities as such; a plugin that imports nothing of the launcher gives their names."""
        result = Capability.NONE
        for one in (named,) if isinstance(named, str | Capability) else named:
            try:
                result |= one if isinstance(one, Capability) else Capability[one]
            except KeyError:
                known = ", ".join(capability.name or "" for capability in Capability)
                raise PluginError(
                    f"{whose(self.found)} declares {one!r}, which is no capability; there are {known}"
                ) from None
        return result

    def _caller(self, hook: str) -> Any:
        return getattr(self._manager.hook, hook)

    def _only(self, hook: str) -> Any:
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not self._module]
        return self._manager.subset_hook_caller(hook, remove_plugins=others)


class _Manager(pluggy.PluginManager):
    """Looks at names that can be hooks only: pluggy's own look at every name of a module costs milliseconds."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        return super().parse_hookimpl_opts(plugin, name) if name.startswith(specs.PREFIX) else None

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        return super().parse_hookspec_opts(module_or_class, name) if name.startswith(specs.PREFIX) else None


class Plugins:
    """The plugins of one launch. Each is imported when it is first asked for, by group and name.

    `notices` are sentences about them for people, before the launch; `tell` takes those that come up while it runs.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.tell: Callable[[str], None] = lambda text: None
        self._manager = _Manager(specs.PROJECT)
        self._manager.add_hookspecs(specs)
        self._installed = Installed()
        self.chosen: list[Plugin] = []

    def choose(self, group: str, name: str) -> Plugin:
        """The plugin, imported and validated. Raises PluginError."""
        found = self._installed.find(group, name)
        module = load(found)
        plugin = Plugin(self._manager, found, module)
        if not any(known is module for _, known in self._manager.list_name_plugin()):
            self._register(module, found)
        wanted = [specs.MAKERS[group]] if group in specs.MAKERS else _policy_hooks()
        if not any(plugin.has(hook) for hook in wanted):
            from launcher_core.hooks.misfit import lacks

            raise PluginError(f"{whose(found)} {lacks(module, wanted, self._implemented(module))}")
        self.chosen.append(plugin)
        return plugin

    def _register(self, module: Any, found: Found) -> None:
        try:
            hash(module)  # pluggy keeps plugins in sets
            self._manager.register(module, name=f"{found.group}:{found.name}")
            self._manager.check_pending()
        except Exception as error:  # looking at an object may run any code of its class
            from launcher_core.hooks.misfit import misfit

            raise PluginError(f"{whose(found)} {misfit(error, self._implemented(module))}") from error

    def _implemented(self, module: Any) -> dict[str, Any]:
        """What the plugin marks as implementations of hooks, right or wrong, by the hook's name."""
        result = {}
        for name in dir(module):
            with suppress(Exception):  # an attribute that cannot be looked at implements nothing
                options = self._manager.parse_hookimpl_opts(module, name)
                if options is not None:
                    result[options.get("specname") or name] = getattr(module, name)
        return result


def _policy_hooks() -> list[str]:
    known = [name for name in vars(specs) if name.startswith("launcher_") and name != DECLARE]
    return [name for name in known if name not in specs.MAKERS.values()]
