"""Writes to the file that it is given whether torch was launched."""

import sys

from torch.distributed import is_torchelastic_launched

if __name__ == "__main__":
    with open(sys.argv[1], "w") as file:
        file.write(str(is_torchelastic_launched()))
