"""Cannot be imported: a mistake of its own."""

PER_NODE = 8 // 0
