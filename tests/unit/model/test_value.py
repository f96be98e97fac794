"""Values behave as frozen records do."""

import pickle

import pytest

from launcher_core.model.value import Value


class Point(Value):
    x: int
    y: int = 2

    @property
    def sum(self) -> int:
        return self.x + self.y


class Other(Value):
    x: int
    y: int = 2


def test_fields_come_by_position_or_by_name_and_defaults_fill_in():
    assert (Point(1), Point(1, y=5).y, Point(y=1, x=4).sum) == (Point(1, 2), 5, 5)


@pytest.mark.parametrize("args, named", [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1})])
def test_arguments_that_do_not_fit_are_refused(args, named):
    with pytest.raises(TypeError, match="Point"):
        Point(*args, **named)


def test_values_are_equal_by_class_and_fields_and_hash_alike():
    assert Point(1) == Point(1, 2)
    assert hash(Point(1)) == hash(Point(1, 2))
    assert Point(1) != Other(1)
    assert Point(1) != (1, 2)


def test_a_value_cannot_be_changed_but_replaced():
    point = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 3
    with pytest.raises(AttributeError, match="frozen"):
        del point.x
    assert (point._replace(y=7), point) == (Point(1, 7), Point(1, 2))
    with pytest.raises(TypeError, match="has no z"):
        point._replace(z=1)


def test_a_value_is_shown_and_pickled_with_all_its_fields():
    assert repr(Point(1)) == "Point(x=1, y=2)"
    assert Point(1)._asdict() == {"x": 1, "y": 2}
    assert pickle.loads(pickle.dumps(Other(3))) == Other(3)
