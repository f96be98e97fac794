"""Sums over the processes of a JAX job on CPUs; no torch. The port after the launcher's is the coordinator's."""

import os

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils


def main() -> None:
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    coordinator = f"{os.environ['MASTER_ADDR']}:{int(os.environ['MASTER_PORT']) + 1}"
    jax.distributed.initialize(coordinator, num_processes=world, process_id=rank)
    gathered = multihost_utils.process_allgather(jnp.array([1.0 + rank]))
    os.write(1, f"rank {rank} of {jax.process_count()} said {float(gathered.sum()):.6f}\n".encode())
    jax.distributed.shutdown()


if __name__ == "__main__":
    main()
