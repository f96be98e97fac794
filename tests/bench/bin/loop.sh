#!/bin/bash
# The least that a launcher in a shell could be: starts so many workers, waits for them.
# Arguments: how many, and the command line.
count=$1
shift
for ((rank = 0; rank < count; rank++)); do
    RANK=$rank "$@" &
done
wait
