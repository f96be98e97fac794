"""The kit as pytest sees it (entry point `pytest11`): asserts in it are explained as those of a test module are.

Imports nothing else of the launcher, so that a test run that does not use the kit pays nothing for it.
"""

import pytest

PARTS = ("backends", "contract", "handlers", "jobs", "logs", "recorders", "shared", "start_methods", "stores")

pytest.register_assert_rewrite(*(f"launcher_core.testing.{part}" for part in PARTS))
