"""Hands: what carries the rules' decisions out. One loop; helper threads that only pump; every system call named."""
