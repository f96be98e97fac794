#!/bin/sh
echo "creating $1/$RANK"
: > "$1/$RANK"
