"""The kit as pytest sees it (entry point `pytest11`): asserts in it are explained as those of a test module are.

Imports nothing, so that it costs a test run that does not use the kit nothing.
"""

import pytest

pytest.register_assert_rewrite("launcher_core.testing")
