"""Leaves what this worker was given, as JSON, in the directory that its first argument names: one file per start."""

import json
import os
import sys

if __name__ == "__main__":
    name = f"{os.environ['RANK']}.{os.environ['TORCHELASTIC_RESTART_COUNT']}.json"
    given = {"environ": dict(os.environ), "argv": sys.argv, "executable": sys.executable, "cwd": os.getcwd()}
    with open(os.path.join(sys.argv[1], name), "w") as file:
        json.dump(given, file)
    if len(sys.argv) == 3 and sys.argv[2] == "--fail-first" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        sys.exit(1)
