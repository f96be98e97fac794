"""The least that a launcher in Python could be: starts so many workers, waits for them.

Arguments: how many, and the command line.
"""

import os
import sys

if __name__ == "__main__":
    count, program, *rest = sys.argv[1:]
    pids = [os.posix_spawn(program, [program, *rest], {**os.environ, "RANK": str(rank)}) for rank in range(int(count))]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    sys.exit(max(codes))
