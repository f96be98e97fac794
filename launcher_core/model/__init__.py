"""Nouns: frozen values that every other floor speaks of. Nothing here decides or acts."""
