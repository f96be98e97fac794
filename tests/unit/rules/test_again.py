"""A command that runs one rank once more."""

from __future__ import annotations

from launcher_core.model.job import Place
from launcher_core.rules.again import again

PLACE = Place(2, 1, 2, 4, 8, 4, 8, "10.0.0.1", 43210)


def test_it_has_the_numbers_of_the_rank_and_the_words_of_the_command() -> None:
    assert again(("python", "-u", "train.py", "--name=a b", "--gpu=${local_rank}"), PLACE, 3, 4, "/home/me/my job") == (
        "cd '/home/me/my job' && RANK=7 LOCAL_RANK=3 WORLD_SIZE=8 LOCAL_WORLD_SIZE=4 MASTER_ADDR=10.0.0.1 "
        "MASTER_PORT=29500 python -u train.py '--name=a b' --gpu=3"
    )


def test_ranks_of_one_node_meet_on_that() -> None:
    alone = Place(0, 0, 1, 0, 2, 0, 2, "node-1", 43210)
    assert " MASTER_ADDR=127.0.0.1 " in again(("./solver",), alone, 0, 2)


def test_a_function_has_no_command() -> None:
    assert again((), PLACE, 0, 4) == ""
