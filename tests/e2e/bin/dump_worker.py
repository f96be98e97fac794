"""Leaves what this worker was given, as JSON, in the directory that its first argument names: one file per start."""

import json
import os
import sys

if __name__ == "__main__":
    name = f"{os.environ['RANK']}.{os.environ['TORCHELASTIC_RESTART_COUNT']}.json"
    given = {"environ": dict(os.environ), "argv": sys.argv, "executable": sys.executable, "cwd": os.getcwd()}
    path = os.path.join(sys.argv[1], name)
    with open(f"{path}.part", "w") as file:  # this worker may be stopped at any moment
        json.dump(given, file)
    os.replace(f"{path}.part", path)
    if len(sys.argv) == 3 and sys.argv[2] == "--fail-first" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        sys.exit(1)
