"""Where the runner's kernels are born: a process that imports what all of them do, and forks.

torch, pandas and matplotlib take as long to load as a small stage's work; a forked kernel has them
at once, and its worker processes too. The project's own code each kernel imports anew.

It is told on its input, one JSON line for each kernel, and answers with the kernel's process number
and, when the kernel has ended, with how (an exit status, or a signal's number below zero).
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys

LOADED = (
    "cv2",
    "ipykernel.kernelapp",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "pandas",
    "pyarrow.parquet",
    "scipy.special",
    "seaborn",
    "torch",
)


def main() -> None:
    """Bear kernels, one after the other, until the runner has no more wishes or is gone."""
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()  # or every kernel's collector would touch, and so copy, what they could share
    wishes, answers = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "w", 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a kernel prints past its notebook must not be taken for an answer
    nursery = os.getpid()
    while line := wishes.readline():
        kernel = os.fork()
        if kernel == 0:
            wishes.close()
            answers.close()
            return _be_kernel(nursery, **json.loads(line))
        with contextlib.suppress(BrokenPipeError):  # the runner is gone, and the next wish is none
            os.setpgid(kernel, kernel)  # signals reach it and its workers, not the runner
            print(kernel, file=answers)
            print(_end_of(kernel, wishes), file=answers)


def _end_of(kernel: int, wishes) -> int:
    """Wait for it; it does not outlive the runner, who says nothing more until then."""
    ended = os.pidfd_open(kernel)
    readable, _, _ = select.select([ended, wishes], [], [])
    if ended not in readable:
        os.killpg(kernel, signal.SIGKILL)
    os.close(ended)
    return os.waitstatus_to_exitcode(os.waitpid(kernel, 0)[1])


def _be_kernel(nursery: int, arguments: list[str], environment: dict[str, str], folder: str):
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    from ipykernel.kernelapp import launch_new_instance

    from ohlora_lib.compute.memory import keep_freed
    from ohlora_lib.compute.workers import prepare

    keep_freed()
    prepare()
    # It ends when the nursery has ended.
    sys.argv = ["ipykernel_launcher", *arguments, f"--IPKernelApp.parent_handle={nursery}"]
    launch_new_instance()


if __name__ == "__main__":
    main()
