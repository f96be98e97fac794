"""--status and --stacks: asks this user's running launchers, and prints what they say."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from launcher_core.cli import seen
from launcher_core.cli.answer import answer
from launcher_core.cli.parse import Origin, refuse
from launcher_core.errors import UsageError
from launcher_core.runtime.asking import Address, Reply, addresses
from launcher_core.runtime.asking import ask as ask_them

SECONDS = {"status": 2.0, "stacks": 4.0}
"""How long the launchers may take to answer."""
SCHEMA = 1


def ask(given: Mapping[str, Origin], word: str | None = None) -> int:
    """Print the answers; the exit code: 0 when a launcher has answered, 1 when none did.

    `given` are the options that were given as flags: `status` or `stacks`, and perhaps `rdzv_id`. The `word` that
    follows them, in the script's place, may be the pid.
    """
    question = "stacks" if "stacks" in given else "status"
    form, pid = _form(question, given[question].value)
    if pid is None and word is not None and word.isascii() and word.isdecimal():
        pid = int(word)
    job = given["rdzv_id"].value if "rdzv_id" in given else None
    replies = _chosen(ask_them(_addresses(pid), question, SECONDS[question]), job)
    found = [reply.facts for reply in replies if reply.facts is not None]
    if form == "json":
        silent = [{"pid": reply.pid, "why": reply.why} for reply in replies if reply.facts is None]
        answer(json.dumps({"schema": SCHEMA, "launchers": found, "silent": silent}, indent=2))
        return 0 if found else 1
    for reply in replies:
        if reply.facts is None:
            print(seen.silent(reply.pid, reply.why), file=sys.stderr)
    if not found:
        if not replies or job is not None:
            print(seen.nobody(pid, job), file=sys.stderr)
        return 1
    show = seen.status if question == "status" else seen.stacks
    answer("\n\n".join("\n".join(show(facts)) for facts in found))
    return 0


def _form(question: str, value: str) -> tuple[str, int | None]:
    """How to answer, and the pid that is meant, if one is."""
    if value in ("text", "json"):
        return value, None
    if not (value.isascii() and value.isdecimal()):
        refuse(UsageError(seen.neither_form_nor_pid(question, value)))
    return "text", int(value)


def _addresses(pid: int | None) -> list[Address]:
    return [one for one in addresses() if pid in (None, one.pid)]


def _chosen(replies: Sequence[Reply], job: str | None) -> list[Reply]:
    """The replies of the job; of who does not answer it is not known which job it runs."""
    return [one for one in replies if job is None or one.facts is None or one.facts.get("run_id") == job]
