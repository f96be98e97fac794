"""A worker under load: says who it is, and computes until it is stopped."""

import os
import pathlib
import sys

os.nice(19)
names = ("RANK", "WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
name = ".".join([str(os.getppid()), str(os.getpid()), *(os.environ[one] for one in names)])
pathlib.Path(sys.argv[1], name).touch()
while True:
    sum(range(100_000))
