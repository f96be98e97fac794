"""What can go wrong. Each fault befalls a story at some moment before the calm."""

from __future__ import annotations

from collections.abc import Callable
from signal import SIGINT, SIGTERM
from typing import TYPE_CHECKING

from launcher_core.rules.guest import ANSWER_WITHIN, Stage

if TYPE_CHECKING:
    from simulated.member import Member
    from simulated.story import Story


def _one(story: Story) -> Member | None:
    guests = story.guests()
    return story.world.random.choice(guests) if guests else None


def snap(story: Story) -> None:
    """A connection breaks, for both sides at nearly the same time."""
    links = [link for link in story.network.links if not link.local]
    if links:
        story.world.random.choice(links).snap(story.world.between(0.0, 0.02))


def half_open(story: Story) -> None:
    """A connection breaks, and the host only sees it later."""
    links = [link for link in story.network.links if not link.local]
    if links:
        story.world.random.choice(links).snap(story.world.between(0.1, 4.0), guest_first=True)


def one_sided(story: Story) -> None:
    """A connection breaks for the host, and the guest has to find out."""
    links = [link for link in story.network.links if not link.local]
    if links:
        link = story.world.random.choice(links)
        if not any(one.talk.link is link and one.talk.guest.stage is Stage.HEARD for one in story.members):
            story.port.tried_again_at = story.world.now + ANSWER_WITHIN
        link.reset_host()


def stall(story: Story) -> None:
    """One direction of a connection stands still for a while."""
    links = [link for link in story.network.links if not link.local]
    if links:
        link = story.world.random.choice(links)
        pipe = story.world.random.choice((link.guest.out, link.host.out))
        pipe.stall(story.world.between(0.2, 4.0))


def cut_off(story: Story) -> None:
    """Some nodes are cut off for a while."""
    names = sorted({member.node.name for member in story.guests()})
    if names:
        chosen = set(story.world.random.sample(names, story.world.random.randint(1, len(names))))
        story.network.cut |= chosen
        story.world.after(story.world.between(0.1, 6.0), lambda: story.network.heal(chosen))


def freeze(story: Story) -> None:
    """An agent is stopped for a while."""
    member = _one(story)
    if member is not None:
        member.process.freeze()
        story.world.after(story.world.between(0.1, 5.0), member.process.thaw)


def freeze_host(story: Story) -> None:
    """The coordinator is stopped for a while."""
    story.host.freeze()
    story.world.after(story.world.between(0.1, 6.0), story.host.thaw)


def crash(story: Story) -> None:
    """An agent is killed, and perhaps started again."""
    member = _one(story)
    if member is not None:
        member.process.die()
        _replace(story, member.node.name)


def power_loss(story: Story) -> None:
    """A machine is gone without a word, and perhaps comes back."""
    member = _one(story)
    if member is not None:
        if member.talk.link is not None:
            member.talk.link.vanish()
        member.process.die()
        _replace(story, member.node.name)


def crash_host(story: Story) -> None:
    """The coordinator dies, and the job with it."""
    if story.world.chance(0.3):
        story.host_crashed = True
        story.host.die()


def restart_host(story: Story) -> None:
    """The coordinator dies, and its agent is started again: at once, or too late."""
    story.host_crashed = True
    story.host.die()
    story.world.after(story.world.between(0.0, story.world.random.choice((0.3, 5.0))), story.host_anew)


def late_comer(story: Story) -> None:
    """One more agent comes."""
    story.add(f"late{len(story.members)}")


def stop_agent(story: Story) -> None:
    """An agent gets a signal, perhaps twice."""
    member = _one(story)
    if member is not None:
        signum = story.world.random.choice((SIGTERM, SIGINT))
        story.signal(member, signum)
        if story.world.chance(0.3):
            story.world.after(story.world.between(0.0, 1.0), lambda: story.signal(member, signum))


def stop_host(story: Story) -> None:
    """The host's agent gets a signal."""
    hosting = [member for member in story.members if member.hosts]
    if hosting and story.world.chance(0.3):
        story.signal(hosting[0], SIGTERM)


def refuse(story: Story) -> None:
    """Attempts to connect are refused for a while."""
    names = {member.node.name for member in story.guests()}
    story.network.refusing |= names
    story.world.after(story.world.between(0.1, 4.0), lambda: story.network.refusing.difference_update(names))
    snap(story)


def silent(story: Story) -> None:
    """Something takes connections in the host's place and says nothing, for a while."""
    story.port.silent = True
    story.world.after(story.world.between(0.1, 4.0), story.port.hear)
    snap(story)


def _replace(story: Story, name: str) -> None:
    if story.world.chance(0.7):
        story.world.after(story.world.between(0.0, 3.0), lambda: story.add(name))


FAULTS: dict[str, Callable[[Story], None]] = {
    fault.__name__: fault
    for fault in (
        snap,
        half_open,
        one_sided,
        stall,
        cut_off,
        freeze,
        freeze_host,
        crash,
        power_loss,
        crash_host,
        restart_host,
        late_comer,
        stop_agent,
        stop_host,
        refuse,
        silent,
    )
}
