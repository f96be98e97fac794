#!/bin/sh
# Reports that it runs, then writes the file to stdout: as fast as lines can come.
echo "0 $RANK $$" >"$BENCH_STAMPS"
exec cat "$1"
