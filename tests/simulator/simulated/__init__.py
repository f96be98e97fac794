"""Many agents and one coordinator in virtual time: the real rules; clock, network and workers are made up."""
