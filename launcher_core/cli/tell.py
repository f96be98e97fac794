"""What a running launch says, one line each, on the launcher's stderr. Silence means that all is well."""

from __future__ import annotations

from signal import Signals
from typing import Any, TextIO

from launcher_core.model.news import Cut, Notice, Over, Regroup, Trouble, Waiting
from launcher_core.rules.steps import Alarm, Examined, Forwarded, Hung, Preempted, Rang, Signalled, Stalled, Wants


class Teller:
    """Writes the lines. Calling it with an event of the agent says what is worth saying about it."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._stopping = False

    def __call__(self, about: Any) -> None:
        """Say what happened, where people want to know it."""
        text = self._words(about)
        if text:
            self.line(text)

    def line(self, text: str) -> None:
        """Write one line; a stream that is gone is not written to again."""
        if self._stream is None:
            return
        try:
            self._stream.write(f"launcher: {text}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None

    def _words(self, about: Any) -> str:
        if isinstance(about, Waiting):
            return _waiting(about)
        if isinstance(about, Regroup):
            within = about.restarts <= about.max_restarts  # else older ones count no more
            count = f"restart {about.restarts}{f' of {about.max_restarts}' if within else ''}"
            return f"{about.reason}; {count if about.restart else 'regrouping, which costs no restart'}"
        if isinstance(about, Cut):
            return f"{about.reason}; trying to reach it again"
        if isinstance(about, Notice):
            return about.text
        if isinstance(about, Signalled):
            return self._signalled(about)
        if isinstance(about, Forwarded):
            return _forwarded(about)
        if isinstance(about, Rang):
            return _rang(about)
        if isinstance(about, Hung):
            return f"{about.reason}; stopping the workers"
        if isinstance(about, Preempted):
            return f"{about.notice}; the job is preempted: stopping the workers on all nodes"
        if isinstance(about, Stalled):
            return "\n".join([about.reason, *(f"  {line}" for line in about.details)])
        if isinstance(about, Examined):
            return _examined(about)
        if isinstance(about, Wants):
            return _wants(about)
        if isinstance(about, Over) and not about.succeeded:
            return f"the job is over: {about.reason}; stopping the workers"
        if isinstance(about, Trouble):
            return f"{about.error}"
        return ""

    def _signalled(self, about: Signalled) -> str:
        name = Signals(about.signum).name
        if self._stopping:
            return f"{name} again; killing the workers"
        self._stopping = True
        return f"{name}; passing it on to the workers (once more kills them)"


def _waiting(about: Waiting) -> str:
    span = f"{about.low}" if about.low == about.high else f"{about.low} to {about.high}"
    left = "" if about.seconds_left is None else f"; {about.then} in {about.seconds_left:.0f} s"
    here = f": {about.have} of {span} nodes are here" if about.have else f" for {span} nodes"  # 0: nobody can say
    return f"waiting{here}; {about.detail}{left}"


def _forwarded(about: Forwarded) -> str:
    name = Signals(about.signum).name
    if not about.workers:
        return f"{name} is not passed on: no worker runs at this time"
    return f"{name}; passed on to {about.workers} worker{'s' if about.workers > 1 else ''} (--forward-signals)"


def _examined(about: Examined) -> str:
    from launcher_core.rules.ending import stuck_words

    then = "leaving without them" if about.leaves else "waiting a little longer"
    return f"after SIGKILL {stuck_words(about.remains)}; {then}"


def _wants(about: Wants) -> str:
    ranks = ", ".join(str(local) for local, _ in about.more)
    longest = max(seconds for _, seconds in about.more)
    who = f"local rank{'s' if len(about.more) > 1 else ''} {ranks}"
    return f"the grace is over; {who} asked for {longest:.1f} s more to end (--max-shutdown-timeout), others are killed"


def _rang(about: Rang) -> str:
    if about.alarm is Alarm.GRACE:
        return "the grace is over (--shutdown-timeout); killing the workers that are left"
    if about.alarm is Alarm.WARN:
        return "what is run for the preemption has had its time (--shutdown-timeout); stopping the workers"
    if about.alarm is Alarm.BARRIER:
        return "the other nodes did not finish in time (--exit-barrier-timeout); this one succeeded"
    return ""
