"""Run a list of jobs: in this process, in worker processes."""
