"""Checks that the launcher's variables are there, then leaves an empty file named after the global rank."""

import argparse
import os
import pathlib

NAMES = (
    *("LOCAL_RANK", "RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT"),
    *("LOCAL_WORLD_SIZE", "WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
    *("TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_ERROR_FILE"),
    *("TORCHELASTIC_USE_AGENT_STORE", "TORCH_NCCL_ASYNC_ERROR_HANDLING", "OMP_NUM_THREADS", "TEST_SENTINEL_PARENT"),
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--touch-file-dir", "--touch_file_dir", type=pathlib.Path)
    args = parser.parse_args()
    for name in NAMES:
        print(f"{name} = {os.environ[name]}")
    if args.fail:
        raise RuntimeError("told to fail")
    (args.touch_file_dir / os.environ["RANK"]).touch()
