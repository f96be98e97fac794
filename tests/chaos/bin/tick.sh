#!/bin/sh
# Adds a character to $1/ticks every few milliseconds, until $1/enough is there; then it ends well.
while [ ! -e "$1/enough" ]; do
    printf . >>"$1/ticks"
    sleep 0.02
done
