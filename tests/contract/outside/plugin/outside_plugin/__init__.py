"""Plugins of another distribution. Of the launcher they import `hookimpl`, some of them nothing at all."""
