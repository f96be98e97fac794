"""Writes whether torch (or, without torch, the variable that torch looks at) says that torch elastic launched this."""

import os
import sys

try:
    from torch.distributed import is_torchelastic_launched
except ImportError:

    def is_torchelastic_launched() -> bool:
        return "TORCHELASTIC_RUN_ID" in os.environ


if __name__ == "__main__":
    with open(sys.argv[1].partition("=")[2], "w") as file:
        file.write(str(is_torchelastic_launched()))
