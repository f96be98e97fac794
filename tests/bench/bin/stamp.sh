#!/bin/sh
# Reports that it runs, then stays for as many seconds as the argument says.
echo "0 $RANK $$" >"$BENCH_STAMPS"
[ "$1" = 0 ] || exec sleep "$1"
