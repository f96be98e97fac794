"""Plugins with one fault each. Importing any of them leaves a trace in the file that $FAULTY_IMPORTED names."""

import os

if "FAULTY_IMPORTED" in os.environ:
    with open(os.environ["FAULTY_IMPORTED"], "a") as trace:
        print("imported", file=trace)
