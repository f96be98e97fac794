"""The plugins that ship with the launcher, imported as `launcher_plugins`; the core imports none of them."""
