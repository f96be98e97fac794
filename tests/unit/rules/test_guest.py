"""An agent's end of the conversation, as transcripts: what it is told and when, what it says, what it makes of it."""

from __future__ import annotations

import pytest
from hosts import DISMISS, NODE, SEAT, SECRET, WHERE, Host, heard, host_proof, seated

from launcher_core.errors import HostLostError, RendezvousConnectionError, RendezvousTimeoutError, UsageError
from launcher_core.model.job import Place
from launcher_core.model.news import Cut, Formed, Over, Regroup, Waiting
from launcher_core.rules import proof
from launcher_core.rules.blame import Failed
from launcher_core.rules.guest import NEVER, REASON, Guest, Stage
from launcher_core.rules.protocol import MAGIC, frame
from launcher_core.rules.testimony import statement

# --- the greeting ----------------------------------------------------------------------------------------


def test_it_opens_with_the_magic_and_answers_the_challenge_with_its_job():
    host = Host(Guest(WHERE))
    host.guest.connected(0)
    assert bytes(host.guest.outbox) == MAGIC

    host.says(0, "challenge", nonce="yours", token=False)
    assert host.hears() == [{"type": "hello", "run_id": "job", "nonce": "mine"}]
    assert (host.guest.stage, host.guest.known) == (Stage.GREETING, False)


def test_once_welcomed_it_gives_a_sign_of_life_and_asks_for_its_place():
    host = Host(Guest(WHERE))
    host.guest.join(NODE, 0)
    host.greets(1)
    host.hears()

    assert host.welcomes(1.2) == []
    assert host.hears() == [{"type": "ok", "n": 1}, {"type": "join", "node": NODE._asdict(), "past": None}]
    assert (host.guest.stage, host.guest.known) == (Stage.HEARD, True)


def test_who_asks_for_a_place_later_is_heard_then():
    host = heard(node=None)
    host.guest.join(NODE, 1)

    assert host.hears() == [{"type": "join", "node": NODE._asdict(), "past": None}]


def test_a_conversation_that_comes_byte_by_byte_is_the_same():
    guest = Guest(WHERE)
    guest.join(NODE, 0)
    guest.connected(0, "10.0.0.1")
    stream = frame("challenge", nonce="n", token=False) + frame(
        "welcome", silence=1.5, interval=0.5, nonce="", proof=""
    )
    news = [one for byte in stream + frame("seat", **SEAT) for one in guest.receive(bytes([byte]), 0.0, "mine")]

    assert [type(one) for one in news] == [Formed]


def test_the_host_counts_so_its_terms_are_the_guests():
    host = Host(Guest(WHERE))
    host.greets(0)
    host.welcomes(0, silence=6, interval=2)

    assert (host.guest.where.silence, host.guest.where.interval, host.guest.where.host_loss) == (6, 2, 12)
    assert host.guest.alarm == 2


def test_a_refusal_ends_the_launch_with_the_hosts_reason():
    host = Host(Guest(WHERE))
    host.greets(0)

    with pytest.raises(UsageError, match="host:29400 refused this agent: another job runs here"):
        host.says(0, "refused", reason="another job runs here")


def test_news_before_the_welcome_are_not_believed():
    host = Host(Guest(WHERE))
    host.greets(0)

    assert host.says(0, "seat", **SEAT) == host.says(0, "end", succeeded=False, reason="x") == []
    assert host.guest.stage is Stage.GREETING


# --- a greeting that nobody answers ----------------------------------------------------------------------


def test_an_unanswered_greeting_is_given_up_and_tried_on_another_connection():
    host = Host(Guest(WHERE))
    host.guest.join(NODE, 0)
    host.guest.connected(1)
    assert (host.guest.alarm, host.guest.tick(10.9)) == (11, [])

    text = "host:29400 takes connections, and did not answer in 10 s; trying again"
    assert host.guest.tick(11) == [Waiting(0, 2, 4, text, 49.0, "this node gives up")]
    assert (host.guest.stage, bytes(host.guest.outbox), host.guest.alarm) == (Stage.APART, b"", 60)

    host.greets(11)
    assert host.welcomes(11.2) == []
    assert (host.guest.stage, host.guest.join_by) == (Stage.HEARD, 60)


def test_a_host_that_asks_and_then_falls_silent_has_not_answered():
    host = Host(Guest(WHERE))
    host.guest.join(NODE, 0)
    host.greets(0)
    host.says(9, "challenge", nonce="yours", token=False)

    assert [type(one) for one in host.welcomes(10)] == [Waiting]
    assert not host.guest.known


def test_a_host_that_was_there_gets_two_attempts_before_it_is_lost():
    host = seated(10)
    host.guest.broke("it was reset", 11)
    host.guest.join(NODE, 11)
    host.guest.connected(11)
    text = "host:29400 takes connections, and did not answer in 2.25 s; trying again"
    assert host.guest.tick(13.25) == [Waiting(0, 2, 4, text, 2.25, "this node gives up")]

    host.guest.connected(13.25)
    with pytest.raises(HostLostError):
        host.guest.tick(15.5)


def test_long_patience_with_a_lost_host_is_not_spent_on_one_greeting():
    host = Host(Guest(WHERE._replace(host_loss=100)))
    host.greets(0)
    host.welcomes(0)
    host.guest.broke("it was reset", 1)
    host.guest.connected(1)

    assert (host.guest.tick(11), host.guest.stage) == ([], Stage.APART)  # it asked for no place: nothing to say


# --- the token -------------------------------------------------------------------------------------------


def test_both_sides_prove_that_they_know_the_token():
    host = Host(Guest(SECRET))
    host.greets(0)
    assert host.hears() == [
        {
            "type": "hello",
            "run_id": "job",
            "nonce": "mine",
            "proof": proof.of(b"secret", "guest", "job", "yours", "mine"),
        }
    ]

    host.says(0, "welcome", **host_proof())
    assert host.guest.known


@pytest.mark.parametrize(
    "welcome",
    [
        host_proof(token=b"other"),
        host_proof(side="guest"),
        host_proof(theirs="nonce of an earlier conversation"),
        {**host_proof(), "nonce": "h3"},
        {**host_proof(), "proof": ""},
    ],
)
def test_a_host_that_cannot_prove_it_is_not_the_host(welcome):
    host = Host(Guest(SECRET))
    host.greets(0)

    with pytest.raises(UsageError, match="does not know this job's token"):
        host.says(0, "welcome", **welcome)
    assert not host.guest.known


def test_a_host_that_asks_for_no_token_is_left_before_anything_is_shown():
    host = Host(Guest(SECRET))
    host.guest.connected(0)

    with pytest.raises(UsageError, match="asks for no token, and this agent has one"):
        host.says(0, "challenge", nonce="yours", token=False)
    assert host.hears() == []


def test_an_agent_without_a_token_says_hello_so_that_the_host_can_refuse_it_by_name():
    host = Host(Guest(WHERE))
    host.guest.connected(0)
    host.says(0, "challenge", nonce="yours", token=True)

    assert [set(one) for one in host.hears()] == [{"type", "run_id", "nonce"}]


# --- the lease -------------------------------------------------------------------------------------------


def test_signs_of_life_go_out_at_every_interval():
    host = heard(10)
    assert (host.guest.tick(10.4), host.hears(), host.guest.alarm) == ([], [], 10.5)

    host.guest.tick(10.5)
    assert (host.hears(), host.guest.alarm) == ([{"type": "ok", "n": 2}], 11.0)


def test_the_lease_counts_from_when_the_answered_sign_was_sent_and_not_from_the_answer():
    host = seated(10)
    host.guest.tick(10.5)
    host.says(11.4, "ok", n=2)  # sent at 10.5: good until 12

    assert host.guest.tick(11.99) == []
    assert [type(one) for one in host.guest.tick(12)] == [Cut]


def test_an_answer_to_no_sign_proves_nothing():
    host = seated(10)
    host.says(11.4, "ok", n=7)

    assert [type(one) for one in host.guest.tick(11.5)] == [Cut]


def test_who_is_cut_off_sends_no_more_and_says_so_once():
    host = seated(10)
    news = host.guest.tick(11.5)

    assert news == [Cut("this node was cut off from the host at host:29400: nothing was heard of it for 1.5 s")]
    assert (host.guest.stage, host.hears(), host.guest.tick(11.6)) == (Stage.APART, [], [])
    host.guest.finished(3)
    assert host.hears() == []


def test_who_waits_bears_twice_the_silence():
    host = heard(10)
    assert (host.guest.tick(12.9), host.guest.stage) == ([], Stage.HEARD)
    assert host.guest.tick(13) == [
        Cut("this node was cut off from the host at host:29400: nothing was heard of it for 3 s")
    ]

    with pytest.raises(HostLostError):
        host.guest.tick(14.5)


@pytest.mark.parametrize(("host_loss", "until"), [(3, 12.25), (4.5, 13), (600, 13)])
def test_who_waits_tries_another_connection_in_time_however_long_a_host_may_be_gone(host_loss, until):
    host = heard(10, WHERE._replace(host_loss=host_loss))

    assert (host.guest.tick(until - 0.01), [type(one) for one in host.guest.tick(until)]) == ([], [Cut])


def test_a_late_answer_lets_who_waits_take_a_place_again():
    host = heard(10)
    host.guest.tick(11.5)
    host.says(12, "ok", n=2)

    assert [type(one) for one in host.says(12.1, "seat", **SEAT)] == [Formed]


def test_who_was_dismissed_is_not_patient_before_its_workers_are_gone():
    host = seated(10)
    host.says(10.1, "dismiss", **DISMISS)

    assert host.guest.alarm <= 11.5
    assert [type(one) for one in host.guest.tick(11.5)] == [Cut]


def test_what_comes_after_the_lease_was_meant_for_a_node_that_is_lost():
    host = heard(10)

    assert [type(one) for one in host.says(11.5, "seat", **SEAT)] == [Cut]
    assert host.says(11.5, "seat", **SEAT) == []


def test_a_broken_connection_cuts_off_at_once():
    host = seated(10)

    assert host.guest.broke("it was reset", 10.1) == [
        Cut("this node was cut off from the host at host:29400: it was reset")
    ]
    assert host.guest.broke("again", 10.2) == []


def test_what_never_answered_as_an_agent_is_none():
    host = Host(Guest(WHERE))
    host.guest.connected(0)
    assert host.guest.broke("the host has died, perhaps", 0) == []

    host.guest.connected(0.2)
    with pytest.raises(RendezvousConnectionError, match=r"does not answer as an agent does \(it closed\)"):
        host.guest.broke("it closed", 0.2)


def test_a_host_that_dies_while_it_greets_is_waited_for_like_one_that_is_not_there_yet():
    host = Host(Guest(WHERE))
    host.guest.join(NODE, 0)
    host.greets(0)
    assert host.guest.broke("it was reset", 0.1) == []
    assert (host.guest.stage, host.guest.alarm) == (Stage.APART, 60)

    host.greets(5)
    host.welcomes(5)
    assert host.guest.stage is Stage.HEARD


def test_without_a_host_the_job_is_over_after_a_while():
    host = seated(10)
    host.guest.broke("it was reset", 11)
    assert (host.guest.alarm, host.guest.tick(15.4)) == (15.5, [])

    with pytest.raises(HostLostError, match=r"nothing answered for 4.5 s \(--rdzv-conf host_loss_timeout\)"):
        host.guest.tick(15.5)


def test_the_patience_with_a_silent_host_counts_from_its_last_answer():
    host = seated(10)
    host.guest.tick(11.5)

    assert host.guest.alarm == 14.5


def test_connections_that_lead_nowhere_do_not_renew_the_patience():
    host = seated(10)
    host.guest.broke("it was reset", 11)
    host.guest.connected(14)
    host.guest.broke("it closed the connection", 15)

    with pytest.raises(HostLostError):
        host.guest.tick(15.5)


# --- rounds ----------------------------------------------------------------------------------------------


def test_a_place_without_an_address_has_the_one_at_which_the_host_was_reached():
    assert heard(0).says(0, "seat", **SEAT) == [Formed(Place(**{**SEAT, "master_addr": "10.0.0.1"}))]
    assert heard(0).says(0, "seat", **{**SEAT, "master_addr": "given"})[0].place.master_addr == "given"


def test_a_round_that_ended_is_told_and_the_next_request_carries_what_this_node_knows():
    host = seated()
    assert host.says(1, "dismiss", **DISMISS) == [Regroup(3, "node-2 is gone", False, 1, 3)]

    host.guest.join(NODE, 1)
    assert host.hears()[-1] == {
        "type": "join",
        "node": NODE._asdict(),
        "past": [3, 1, SEAT["group_rank"], SEAT["group_world_size"]],
    }


def test_after_a_break_it_asks_again_and_tells_a_new_host_of_the_job_so_far():
    host = seated(0)
    host.guest.broke("it was reset", 0.5)
    host.guest.join(NODE, 0.5)
    host.greets(0.7)
    host.hears()
    host.welcomes(0.7)

    assert host.hears()[1:] == [
        {"type": "join", "node": NODE._asdict(), "past": [3, 1, SEAT["group_rank"], SEAT["group_world_size"]]}
    ]
    assert host.guest.tick(1.0) == []


def test_success_is_said_again_after_a_break():
    host = seated(0)
    host.guest.finished(3)
    assert host.hears() == [{"type": "finished", "round": 3}]

    host.guest.broke("it was reset", 0.5)
    host.greets(0.7)
    host.hears()
    host.welcomes(0.7)
    assert host.hears()[1:] == [{"type": "resume", "node": NODE._asdict(), "round": 3}]


def test_success_in_a_round_that_was_ended_is_not_said_again():
    host = seated(0)
    host.guest.finished(3)
    host.says(0.2, "dismiss", **DISMISS)
    host.guest.broke("it was reset", 0.5)
    host.greets(0.7)
    host.hears()
    host.welcomes(0.7)

    assert [one["type"] for one in host.hears()] == ["ok"]


def test_a_spare_waits_for_ever():
    host = heard(0)
    assert host.says(0, "park") == [Waiting(4, 2, 4, "the job is full; this node is a spare")]

    assert host.guest.join_by == NEVER


def test_too_few_nodes_end_the_wait_with_the_hosts_last_word():
    host = heard(0)
    news = host.says(1, "waiting", have=1, low=2, high=4, detail="1 more needed", seconds_left=None, then="")
    assert news == [Waiting(1, 2, 4, "1 more needed", 59.0, "this node gives up")]
    host.guest._alive_at = 60

    with pytest.raises(RendezvousTimeoutError, match=r"no round formed within 60 s .*: 1 more needed"):
        host.guest.tick(60)


def test_a_host_that_never_answers_is_no_agent_when_the_time_is_over():
    host = Host(Guest(WHERE))
    host.guest.join(NODE, 0)
    host.guest.connected(0)

    with pytest.raises(RendezvousConnectionError, match="nothing in 60 s"):
        host.guest.tick(60)


@pytest.mark.parametrize("succeeded", [True, False])
def test_the_end_is_the_last_thing_it_hears(succeeded):
    host = seated(0)
    assert host.says(1, "end", succeeded=succeeded, reason="so it is") == [Over(succeeded, "so it is")]

    assert (host.guest.stage, host.guest.alarm) == (Stage.ENDED, NEVER)
    assert host.guest.broke("it closed the connection", 2) == host.says(3, "seat", **SEAT) == host.guest.tick(99) == []


TOLD = statement("node-1", Failed(1, 0, 101, 3, 5.0), age=0.5)


def test_what_is_known_of_a_failure_goes_along_with_the_report_of_it():
    host = seated(0)
    host.guest.testify(0, TOLD, "", 1.0)
    host.guest.failed(0, "boom")
    host.guest.failed(0, "again")

    assert host.hears() == [
        {"type": "failed", "round": 0, "reason": "boom", "testimony": TOLD},
        {"type": "failed", "round": 0, "reason": "again"},
    ]


def test_what_is_known_later_is_told_when_it_is_asked_for_and_is_older_then():
    host = seated(0)
    host.guest.testify(0, TOLD, "", 0.25)
    assert host.hears() == []
    over = Over(False, "boom", verdict=TOLD, settled=False)
    assert host.says(1.0, "end", succeeded=False, reason="boom", verdict=TOLD, settled=False) == [over]
    host.guest.testify(0, None, "rank 1 exit code 3", 1.25)

    assert [one for one in host.hears() if one["type"] != "ok"] == [
        {"type": "testify", "round": 0, "testimony": {**TOLD, "age": 1.25}, "told": ""},
        {"type": "testify", "round": 0, "testimony": None, "told": "rank 1 exit code 3"},
    ]


def test_an_end_that_is_not_settled_is_not_the_last_thing_it_hears():
    host = seated(0)
    host.says(0.5, "end", succeeded=False, reason="boom", verdict=TOLD, settled=False)
    assert host.guest.stage is Stage.HEARD
    told = host.says(1.0, "end", succeeded=False, reason="boom", verdict=TOLD, settled=True, aftermath=[["a", "b"]])
    assert told == [Over(False, "boom", verdict=TOLD, aftermath=(("a", "b"),))]
    assert (host.guest.stage, host.guest.alarm) == (Stage.ENDED, NEVER)


def test_what_the_agent_reports_is_sent_and_long_reasons_are_cut():
    host = seated(0)
    long = "x" * (REASON + 1)
    host.guest.failed(3, long)
    host.guest.leave(long)
    host.guest.end_job(long)

    assert host.hears() == [
        {"type": "failed", "round": 3, "reason": long[:-1]},
        {"type": "leave", "reason": long[:-1]},
        {"type": "close", "reason": long[:-1]},
    ]


def test_an_ipv6_host_is_written_as_people_do():
    assert str(WHERE._replace(host="fd00::1")) == "[fd00::1]:29400"
