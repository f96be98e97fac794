"""Events: what recorders are given. Names and shapes are torch elastic's."""

import json
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

MetadataValue = str | int | float | bool | None


class EventSource(str, Enum):
    """Who an event is about."""

    AGENT = "AGENT"
    WORKER = "WORKER"


class Event(NamedTuple):
    """One thing that happened. `timestamp` is wall-clock milliseconds."""

    name: str
    source: EventSource
    timestamp: int = 0
    metadata: Mapping[str, MetadataValue] = {}

    def serialize(self) -> str:
        """The event as one line of JSON, keys in torch elastic's order."""
        return json.dumps(
            {
                "name": self.name,
                "source": self.source.value,
                "timestamp": self.timestamp,
                "metadata": dict(self.metadata),
            }
        )

    def __str__(self) -> str:
        return self.serialize()

    @classmethod
    def deserialize(cls, data: "str | Event") -> "Event":
        """The event that `serialize` wrote; an Event is returned as it is."""
        if isinstance(data, Event):
            return data
        fields = json.loads(data)
        return cls(fields["name"], EventSource(fields["source"]), fields["timestamp"], fields["metadata"])
