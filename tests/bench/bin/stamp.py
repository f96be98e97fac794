"""Reports the time of its first line, then stays for as many seconds as the argument says."""

import time

began = time.time_ns()

import os  # noqa: E402 - the line above is what is measured
import sys  # noqa: E402

if __name__ == "__main__":
    stamps = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY)
    os.write(stamps, f"{began} {os.environ['RANK']} {os.getpid()}\n".encode())
    os.close(stamps)
    time.sleep(float(sys.argv[1]))
