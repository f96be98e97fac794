"""Running a script inside a worker, as `python SCRIPT ARGS` would: what --run-path starts in every worker."""

from __future__ import annotations


def run_script_path(script: str, *args: str) -> None:
    """Run the file as `__main__` with `sys.argv` = [script, *args], its own directory first on `sys.path`."""
    import os
    import runpy
    import sys

    sys.argv = [script, *args]
    if not os.path.isdir(script):  # of a directory or an archive, runpy itself takes care
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
    runpy.run_path(script, run_name="__main__")
