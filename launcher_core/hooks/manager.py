"""Calling plugins: registered with pluggy when they are named, validated then, asked one at a time."""

from __future__ import annotations

from typing import Any

import pluggy

from launcher_core.errors import LauncherError, PluginError, UsageError
from launcher_core.hooks import specs
from launcher_core.hooks.find import FLAGS, Found, find, load
from launcher_core.hooks.ports import Declaration


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
        """What the plugin's implementation of the hook returns.

        Its ValueError or OSError becomes a UsageError naming the flag; other exceptions pass, with a note that
        says whose they are.
        """
        try:
            result = self._only(hook)(**arguments)
        except LauncherError:
            raise
        except (ValueError, OSError) as error:
            raise UsageError(f"{FLAGS[self.found.group]}={self.found.name}: {error}") from error
        except Exception as error:
            error.add_note(f"raised by {hook} of plugin {self.found}")
            raise
        return result if self._caller(hook).spec.opts["firstresult"] else (result[0] if result else None)

    def declaration(self) -> Declaration:
        """What the plugin says of itself; nothing, where it does not implement launcher_declare."""
        return self.ask("launcher_declare") or Declaration()

    def _caller(self, hook: str) -> Any:
        return getattr(self._manager.hook, hook)

    def _only(self, hook: str) -> Any:
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not self._module]
        return self._manager.subset_hook_caller(hook, remove_plugins=others)


class Plugins:
    """The plugins of one launch. Each is imported when it is first asked for, by group and name."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(specs.PROJECT)
        self._manager.add_hookspecs(specs)
        self.chosen: list[Plugin] = []

    def choose(self, group: str, name: str) -> Plugin:
        """The plugin, imported and validated. Raises PluginError."""
        found = find(group, name)
        module = load(found)
        plugin = Plugin(self._manager, found, module)
        if not self._manager.is_registered(module):
            self._register(module, found)
        maker = specs.MAKERS.get(group)
        if maker is not None and not plugin.has(maker):
            raise PluginError(self._lacks(plugin, maker))
        self.chosen.append(plugin)
        return plugin

    def _register(self, module: Any, found: Found) -> None:
        asked = f"{FLAGS[found.group]}={found.name}"
        try:
            self._manager.register(module)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            self._manager.unregister(module)
            raise PluginError(
                f"{asked}: the plugin of {found.distribution} {found.version} does not fit: {error.args[-1]}"
            ) from error

    def _lacks(self, plugin: Plugin, maker: str) -> str:
        import inspect

        known = [name for name in dir(specs) if name.startswith("launcher_")]
        has = ", ".join(hook for hook in known if plugin.has(hook)) or "no hook at all"
        wanted = f"{maker}{inspect.signature(getattr(specs, maker))}"
        found = plugin.found
        return (
            f"{FLAGS[found.group]}={found.name}: the plugin of {found.distribution} {found.version} does not "
            f"implement {wanted}; it implements {has}"
        )
