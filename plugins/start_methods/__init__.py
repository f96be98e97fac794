"""The start methods: exec for commands; spawn, fork and forkserver for Python functions. See README.md."""
