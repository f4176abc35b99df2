"""A fork server for notebook kernels: optional, and off with OHLORA_FORK_KERNELS=0.

A server process imports torch, pandas and matplotlib once, and forks a kernel for each stage. The
kernel's worker processes are forked before it starts threads, and share the imports too. Without
it (the switch, or a system without pidfd) jupyter_client starts kernels as usual and every kernel
and worker imports everything again.

Gain: the imports that each kernel and each of its worker pools would repeat. torch and the
networks of this library alone take 3.5 s of CPU time per process (`python -c "import
ohlora_lib.checkpoints.registry"`); over the 14 stages of ohlora_v3 that is an estimated 10 to 15 %
of ./run_all.sh. A paired measurement of whole runs is still to be made.

`python -m ohlora_lib.runner.kernel_fork` is the server. It reads one JSON line per kernel and
writes the kernel's process id and, when the kernel has ended, its exit status (a signal's number
below zero).
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

SWITCH = "OHLORA_FORK_KERNELS"
POLL = 0.02  # seconds
PRELOADED = (
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


class ForkedKernel:
    """A child of the server, with the methods of `subprocess.Popen` that a provisioner uses."""

    stdin = stdout = stderr = None

    def __init__(self, server: subprocess.Popen, request: dict[str, object]):
        self.server, self.returncode = server, None
        answer = b""
        with contextlib.suppress(OSError):
            server.stdin.write(json.dumps(request).encode() + b"\n")
            answer = server.stdout.readline()
        if not answer:
            raise RuntimeError(f"the kernel fork server died: run with {SWITCH}=0 to do without")
        self.pid = int(answer)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        if self.returncode is None and select.select([self.server.stdout], [], [], 0)[0]:
            self.returncode = int(self.server.stdout.readline() or -signal.SIGKILL)
        return self.returncode

    def wait(self) -> int:
        """The exit status, once it has ended."""
        while self.poll() is None:
            time.sleep(POLL)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class ForkProvisioner(LocalProvisioner):
    """Starts Python kernels through the server; otherwise a local provisioner."""

    async def launch_kernel(self, cmd: list[str], **given):
        if "ipykernel_launcher" not in cmd:
            return await super().launch_kernel(cmd, **given)
        folder, environment = str(given.get("cwd") or Path.cwd()), given["env"]
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        request = {"arguments": arguments, "environment": environment, "folder": folder}
        self.process = ForkedKernel(_server(), request)
        self.pid = self.pgid = self.process.pid
        self.cwd = folder
        return self.connection_info


@cache
def _server() -> subprocess.Popen:
    """This process's server, started with the environment of the first call."""
    command = [sys.executable, "-m", "ohlora_lib.runner.kernel_fork"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    environment = {
        # Matplotlib reads this at import; a kernel's own start would set it.
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",  # threads do not survive a fork
    } | os.environ
    started = subprocess.Popen(command, **pipes, env=environment, start_new_session=True)
    atexit.register(started.communicate)  # closes its input: it ends
    return started


def install() -> bool:
    """Make the kernels of this process come from the server; False if it is off or impossible."""
    if os.environ.get(SWITCH) == "0":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # not Linux, or a sandbox that forbids it
        return False
    _server()
    name = "ohlora-fork"
    factory = KernelProvisionerFactory.instance()
    where = f"{__name__}:{ForkProvisioner.__name__}"
    factory.provisioners[name] = EntryPoint(name, where, factory.GROUP_NAME)
    factory.default_provisioner_name = name
    return True


def serve() -> None:
    """Start kernels, one after the other, until the runner closes the input or is gone."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # otherwise every kernel's collector would touch, and so copy, the shared pages
    requests, answers = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "w", 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a kernel prints outside its notebook must not be taken for an answer
    server = os.getpid()
    while line := requests.readline():
        kernel = os.fork()
        if kernel == 0:
            requests.close()
            answers.close()
            return _become_kernel(server, **json.loads(line))
        with contextlib.suppress(BrokenPipeError):  # the runner is gone: no more requests come
            os.setpgid(kernel, kernel)  # signals reach it and its workers, not the runner
            print(kernel, file=answers)
            print(_exit_status(kernel, requests), file=answers)


def _exit_status(kernel: int, requests) -> int:
    """Wait for the kernel. It is killed if the runner ends first, which closes `requests`."""
    ended = os.pidfd_open(kernel)
    readable, _, _ = select.select([ended, requests], [], [])
    if ended not in readable:
        os.killpg(kernel, signal.SIGKILL)
    os.close(ended)
    return os.waitstatus_to_exitcode(os.waitpid(kernel, 0)[1])


def _become_kernel(server: int, arguments: list[str], environment: dict[str, str], folder: str):
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    from ipykernel.kernelapp import launch_new_instance

    from ohlora_lib.compute import workers
    from ohlora_lib.compute.memory import keep_freed

    keep_freed()
    workers.prepare()
    # The kernel ends when its parent, the server, has ended.
    sys.argv = ["ipykernel_launcher", *arguments, f"--IPKernelApp.parent_handle={server}"]
    launch_new_instance()


if __name__ == "__main__":
    serve()
