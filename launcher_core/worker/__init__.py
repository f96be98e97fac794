"""What runs inside a worker, and the file it leaves behind when it fails.

A training script may import this: it costs a few milliseconds, needs only the standard library and
configures nothing on import.
"""
