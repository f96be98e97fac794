"""Prints lines as a Python program does: so many, each with this text.

Arguments: how many, the text. With `clock` for the text each line is the time in nanoseconds, flushed, one every
ten milliseconds.
"""

import os
import sys
import time

if __name__ == "__main__":
    count, text = int(sys.argv[1]), sys.argv[2]
    stamps = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY)
    os.write(stamps, f"{time.time_ns()} {os.environ['RANK']} {os.getpid()}\n".encode())
    os.close(stamps)
    if text == "clock":
        for _ in range(count):
            print(f"t{time.time_ns()}", flush=True)
            time.sleep(0.01)
    else:
        for _ in range(count):
            sys.stdout.write(text + "\n")
