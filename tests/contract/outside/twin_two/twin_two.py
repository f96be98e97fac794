"""Half of a conflict: its twin offers plugins of the same names."""

raise AssertionError("nobody was to import this")
