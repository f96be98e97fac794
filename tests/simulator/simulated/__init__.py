"""Many agents and one coordinator in virtual time: the real rules, on a clock, network and workers that are made up."""
