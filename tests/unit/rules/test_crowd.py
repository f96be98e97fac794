"""Crowds are what tuples and sets are, only faster to change."""

from __future__ import annotations

from launcher_core.model.job import Node
from launcher_core.rules.crowd import Ids, Nodes

A, B, C = (Node(id, f"host-{id}", 1) for id in "abc")


def test_ids_equal_any_set_of_the_same():
    assert Ids("ab") == frozenset("ba") == Ids("ba") and hash(Ids("ab")) == hash(Ids("ba"))


def test_ids_with_one_more_or_less_are_others():
    ids = Ids("ab")
    assert (ids.plus("c"), ids.minus("a"), ids.minus("z"), ids) == (set("abc"), {"b"}, set("ab"), set("ab"))


def test_nodes_are_a_tuple():
    assert Nodes([A, B]) == (A, B) == Nodes([A, B]) and Nodes([A, B]).ids == set("ab")
    assert Nodes([A, B]) != (B, A) and Nodes([A, B])[1] == B and Nodes([A, B, C])[:2] == (A, B)


def test_thousands_are_in_the_order_in_which_they_came():
    every = [Node(str(number), "host", 1) for number in range(1000)]
    nodes = Nodes()
    for count, node in enumerate(every):
        assert len(nodes) == count and node.id not in nodes.ids
        nodes = nodes.plus(node)
    assert list(nodes) == every == list(Nodes(every)) and nodes.ids == {node.id for node in every}
    assert list(nodes.minus("64")) == [node for node in every if node.id != "64"]


def test_a_node_that_comes_again_is_the_last_and_there_once():
    again = A._replace(local_world_size=4)
    nodes = Nodes([A, B]).plus(C).plus(again)
    assert nodes == (B, C, again) and nodes.ids == set("abc")


def test_nodes_without_one_are_the_others_in_the_same_order():
    nodes = Nodes([A, B, C])
    assert (nodes.minus("b"), nodes.minus("z"), nodes) == ((A, C), (A, B, C), (A, B, C))
    assert nodes.minus("b").ids == set("ac")
