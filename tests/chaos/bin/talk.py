"""Writes numbered lines of the given length to stdout and stderr, some 8 KB at a time, until it is killed."""

import os
import select
import sys

if __name__ == "__main__":
    filling = "x" * int(sys.argv[1])
    several = 8192 // (len(filling) + 12) + 1
    number = 0
    while True:
        lines = "".join(f"line {n} {filling}\n" for n in range(number, number + several)).encode()
        number += several
        for fd in (1, 2):
            os.write(fd, lines)
        select.select([], [], [], 0.002)
