"""Jobs whose nodes share a register, in virtual time: clerks, agents and a backend with faults."""
