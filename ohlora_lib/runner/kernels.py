"""Kernels from the nursery, as jupyter_client knows kernels."""

import atexit
import contextlib
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

POLL = 0.02  # seconds


class BornKernel:
    """A nursery's child; offers of `subprocess.Popen` what a provisioner asks for."""

    stdin = stdout = stderr = None

    def __init__(self, nursery: subprocess.Popen, wish: dict[str, object]):
        self.nursery, self.returncode = nursery, None
        born = b""
        with contextlib.suppress(OSError):
            nursery.stdin.write(json.dumps(wish).encode() + b"\n")
            born = nursery.stdout.readline()
        if not born:
            raise RuntimeError("the process that starts kernels died; its last words stand above")
        self.pid = int(born)

    def poll(self) -> int | None:
        """How it ended, or None."""
        if self.returncode is None and select.select([self.nursery.stdout], [], [], 0)[0]:
            self.returncode = int(self.nursery.stdout.readline() or -signal.SIGKILL)
        return self.returncode

    def wait(self) -> int:
        """How it ended, once it has."""
        while self.poll() is None:
            time.sleep(POLL)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class BornProvisioner(LocalProvisioner):
    """Starts kernels in the nursery; all the rest is as for any kernel of this machine."""

    async def launch_kernel(self, cmd: list[str], **given):
        if "ipykernel_launcher" not in cmd:  # a kernel of the user's own
            return await super().launch_kernel(cmd, **given)
        folder, environment = str(given.get("cwd") or Path.cwd()), given["env"]
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        wish = {"arguments": arguments, "environment": environment, "folder": folder}
        self.process = BornKernel(nursery(), wish)
        self.pid = self.pgid = self.process.pid
        self.cwd = folder
        return self.connection_info


@cache
def nursery() -> subprocess.Popen:
    """The nursery of this process, started with the environment as it is at the first call."""
    command = [sys.executable, "-m", "ohlora_lib.runner.kernel_server"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    with_defaults = {
        # Matplotlib looks at this when it is imported; a kernel's own start would set it.
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",  # threads do not survive a fork
    } | os.environ
    started = subprocess.Popen(command, **pipes, env=with_defaults, start_new_session=True)
    atexit.register(started.communicate)  # no more wishes: it ends
    return started


def bear_kernels() -> None:
    """From now on kernels of this process come from the nursery, where it can work."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # not Linux, or one that forbids it: kernels as everywhere
        return
    nursery()
    name = "ohlora-nursery"
    where = f"{__name__}:{BornProvisioner.__name__}"
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[name] = EntryPoint(name, where, factory.GROUP_NAME)
    factory.default_provisioner_name = name
