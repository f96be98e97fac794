#!/bin/sh
# Leaves a file with its pid, named after its rank and attempt, in directory $1, and stays. $2 says what it does when
# it is asked to stop: `die` of the signal, `exit` with 0, `ignore` it. With $3 it ends well in that attempt.
case $2 in
    exit) trap 'exit 0' TERM INT HUP QUIT ;;
    ignore) trap '' TERM INT HUP QUIT ;;
esac
[ "$3" = "$TORCHELASTIC_RESTART_COUNT" ] && exit 0
echo $$ >"$1/.$RANK.$TORCHELASTIC_RESTART_COUNT"
mv "$1/.$RANK.$TORCHELASTIC_RESTART_COUNT" "$1/$RANK.$TORCHELASTIC_RESTART_COUNT"
while :; do
    sleep 600 &
    wait $!
done
