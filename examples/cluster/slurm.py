"""Dask workers as SLURM jobs.

    .venv/bin/pip install dask-jobqueue
    .venv/bin/python examples/cluster/slurm.py --workers 32 --memory 4GB

starts a scheduler on this node, submits one job per worker, prints the address for
`./run_all.sh --cluster`, and ends all jobs when it is stopped with Ctrl-C. The folder of the
repository must be mounted on the nodes; else their files travel to the runner.
"""

import argparse
import signal
from pathlib import Path

from dask_jobqueue import SLURMCluster

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--workers", type=int, default=8)
    add("--memory", default="4GB", help="of each worker")
    add("--time", default="04:00:00", help="limit of a job; a lost worker's shards run elsewhere")
    add("--partition", help="SLURM's partition (default: the site's)")
    add("--account", help="the account that is charged (default: the site's)")
    add("--interface", help="network interface that the nodes share, as ib0")
    add("--port", type=int, default=8786)
    options = parser.parse_args()
    with SLURMCluster(
        queue=options.partition,
        account=options.account,
        interface=options.interface,
        cores=1,  # threads of a worker: it runs one job at a time
        processes=1,
        memory=options.memory,
        walltime=options.time,
        job_script_prologue=[
            f"cd {ROOT}",
            "export OMP_NUM_THREADS=1",
            # Networks stay in memory: spilled to disk they would be read again for every job.
            "export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False",
            "export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False",
            "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False",
        ],
        scheduler_options={"port": options.port},
        log_directory=str(ROOT / "data" / "slurm"),
    ) as cluster:
        cluster.scale(options.workers)
        print(f"./run_all.sh --cluster {cluster.scheduler_address}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
