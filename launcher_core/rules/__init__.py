"""Verbs: pure functions of their arguments. No clock, socket, file, process, environment, log or random number."""
