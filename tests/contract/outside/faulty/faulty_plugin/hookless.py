"""No plugin at all."""
