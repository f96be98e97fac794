"""What runs inside a worker, and the file it leaves behind when it fails.

A training script may import this: it costs a few milliseconds, needs only the standard library and
configures nothing on import.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher_core.worker.beats import heartbeat, section

__all__ = ["heartbeat", "section"]


def __getattr__(name: str) -> object:
    """`heartbeat` and `section`, imported when they are wanted: the launcher itself wants neither."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from launcher_core.worker import beats

    return getattr(beats, name)
