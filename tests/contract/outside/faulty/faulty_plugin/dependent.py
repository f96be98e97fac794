"""Cannot be imported: what it needs is not installed."""

import absent_dependency.parts as parts

__all__ = ["parts"]
