"""Detectors of hangs: policies that watch the workers of a node, each imported when it is wanted."""
