"""Jobs on a Dask cluster: an existing one, or worker processes of this machine.

    with cluster.local(2) as made, cluster.connected(made.scheduler_address):
        ...  # what asks `workers` for an executor gets the cluster

A worker runs one job at a time on one thread, so results do not depend on the number of workers.
The networks of a call are sent once, as the result of a task that the scheduler repeats when the
worker that has them is lost. Workers that see the repository's data/ write their files there;
those of others come back to the caller, which writes them.
"""

import hashlib
import json
import logging
import os
import pickle
import platform
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ohlora_lib.compute.memory import available, keep_freed
from ohlora_lib.store import ROOT, StoreError
from ohlora_lib.store.atomic import in_memory, write_bytes, write_text

if TYPE_CHECKING:
    from distributed import LocalCluster

SETTING = "OHLORA_CLUSTER"
"""The environment variable that tells a process which cluster to use: a `Setup` as JSON."""
TOPIC = "ohlora-progress"
DASHBOARD_PORT = 8787
QUEUED_PER_WORKER = 3
RETRIES = 2  # of a job that raised an error
RECONNECT = 120.0  # seconds that a lost scheduler has to come back at its address
PATIENCE = 10.0  # seconds without a result after which the workers are checked
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PACKAGES = ("numpy", "opencv-python-headless", "torch")

QUIET_WORKERS = {
    # Networks stay in memory: spilled to disk they would be read again for every job.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # Dask watches itself: by default with 11 % of a core for two workers, so with 2 %.
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.scheduler.active-memory-manager.start": False,
}
"""Settings of workers of this machine."""

_lock = threading.Lock()  # one job at a time, also in a worker with several threads
_inside = False  # this process is a worker


class ClusterError(StoreError):
    """What is wrong with the cluster, where, and what to do."""


@dataclass(frozen=True)
class Setup:
    """A cluster as its users see it, and what its workers must have."""

    address: str
    shared: bool = True  # all workers see ROOT/data
    probe: str = ""  # a file in ROOT/data
    token: str = ""  # its contents
    code: str = ""
    versions: tuple[str, ...] = ()

    def problem(self) -> str:
        """Why this process cannot be a worker, and the remedy; "" if it can."""
        here = own_versions()
        if here != self.versions:
            return (
                f"has {' '.join(here)}, the runner {' '.join(self.versions)}: "
                "install requirements.txt there"
            )
        if self.code != CODE:
            return f"has another version of the code in {ROOT}: update it and restart the worker"
        if self.shared and not self.sees_folder():
            return f"does not see {Path(self.probe).parent} of the runner: mount that folder there"
        return ""

    def sees_folder(self) -> bool:
        """Whether the runner's data/ is here, too."""
        with suppress(OSError):
            return Path(self.probe).read_text() == self.token
        return False


def own_versions() -> tuple[str, ...]:
    """This process's packages that decide the last bits of a result."""
    return tuple(f"{name} {version(name).split('+')[0]}" for name in PACKAGES)


def _digest() -> str:
    """Of the library's source files."""
    sources = sorted(Path(__file__).resolve().parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


CODE = _digest()
"""As imported: a worker that runs on keeps its code when the files change."""


# ---------------------------------------------------------------- in the workers


class Shared:
    """What all jobs of a call share: a function with its networks.

    Pickled by torch's own rules on its way from worker to worker, too: Dask's would change the
    memory format of weights, and with it the last bits of results.
    """

    def __init__(self, packed: bytes):
        self.work = pickle.loads(packed)

    def __reduce__(self):
        return Shared, (_pickled(self.work),)


@cache
def _begin(setup: Setup) -> None:
    """Prepare this process, once."""
    global _inside
    if problem := setup.problem():
        raise ClusterError(f"worker {_own_address()} {problem}")
    _inside = True
    keep_freed()
    for name in THREADS:  # of what is imported later
        os.environ[name] = "1"
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(1)


def _own_address() -> str:
    from distributed import get_worker

    return get_worker().address


def _run(shared: Shared, packed: bytes, files: dict[Path, bytes] | None, setup: Setup):
    """One call: its result, and the files that it wrote if the worker shares no folder."""
    with _lock:
        _begin(setup)
        arguments = pickle.loads(packed)
        if files is None:
            return shared.work(*arguments), {}
        with in_memory(files) as written:
            return shared.work(*arguments), written


def _look(setup: Setup) -> tuple[str, bool, str]:
    """Of a worker: what is wrong, whether it sees the folder, and its kind of CPU."""
    return setup.problem(), setup.sees_folder(), _cpu()


def _cpu(info: Path = Path("/proc/cpuinfo")) -> str:
    """The kind of CPU."""
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


# ---------------------------------------------------------------- in the caller


class Cluster:
    """Where `jobs.gather` sends its calls: the counterpart of a process pool."""

    def __init__(self, setup: Setup):
        self.setup = setup
        self.sent = self.received = 0  # bytes of networks (once), arguments, results
        self._client = self._counted = None
        self._workers = 1

    def completed(
        self, work: Callable, arguments: Sequence[tuple], what: str = ""
    ) -> Iterator[tuple[int, Any]]:
        """Index and result of each call `work(*arguments[index])`, in the order of completion.

        Calls of a lost worker are repeated by the scheduler; those of a lost scheduler are
        submitted again when it is back.
        """
        packed = _pickled(work)
        self.sent += len(packed)
        name = _name(work)
        waiting, pending, finished = list(reversed(range(len(arguments)))), {}, SimpleQueue()
        loaded, done = None, 0
        try:
            while waiting or pending:
                client = self.client()
                if loaded is None or loaded.client is not client or loaded.cancelled():
                    key = f"networks of {name}-{uuid.uuid4()}"
                    loaded = client.submit(Shared, packed, key=key, retries=RETRIES)
                while waiting and len(pending) < QUEUED_PER_WORKER * self._count(client):
                    index = waiting.pop()
                    future = self._submit(client, loaded, name, arguments[index])
                    pending[future] = index
                    future.add_done_callback(finished.put)
                try:
                    future = finished.get(timeout=PATIENCE)
                except Empty:
                    self._check(client)
                    continue
                index = pending.pop(future)
                try:
                    result = self._result(client, future)
                except _Lost:
                    waiting.append(index)
                    continue
                done += 1
                _tell(client, what, done, len(arguments), self._workers)
                yield index, result
        finally:
            with suppress(Exception):  # of a lost connection
                for future in [*pending, *([loaded] if loaded else [])]:
                    future.cancel()

    def client(self):
        """The connection; a lost scheduler is waited for."""
        from distributed import Client

        deadline = time.monotonic() + RECONNECT
        while self._client is None or self._client.status != "running":
            if self._client is not None and self._client.status == "connecting":
                time.sleep(0.1)
                continue
            _be_quiet()
            try:
                self._client = Client(self.setup.address, timeout=5, set_as_default=False)
            except (OSError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"the Dask scheduler {self.setup.address} is gone: start it again, then "
                        "run this again (finished parts are kept)"
                    ) from error
                time.sleep(1)
        return self._client

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            with suppress(OSError, TimeoutError):
                self._client.close(timeout=2)
            self._client = None

    def _submit(self, client, loaded, name: str, given: tuple):
        files = None
        if not self.setup.shared:
            read = [path for each in given for path in getattr(each, "reads", tuple)()]
            files = {path: path.read_bytes() for path in read}
            self.sent += sum(map(len, files.values()))
        packed = _pickled(given)
        self.sent += len(packed)
        key = f"{name}-{uuid.uuid4()}"
        return client.submit(_run, loaded, packed, files, self.setup, key=key, retries=RETRIES)

    def _result(self, client, future):
        if future.status == "error":
            raise self._explained(client, future.exception())
        try:
            result, files = future.result(timeout=RECONNECT)
        except (CancelledError, OSError, TimeoutError) as error:
            raise _Lost from error
        for path, content in files.items():
            write_bytes(path, content)
            self.received += len(content)
        self.received += len(_pickled(result))
        return result

    def _count(self, client) -> int:
        """The number of workers, asked for every two seconds."""
        now = time.monotonic()
        if self._counted is None or now > self._counted + 2:
            with suppress(OSError, TimeoutError, RuntimeError):
                self._workers, self._counted = max(1, len(client.nthreads())), now
        return self._workers

    def _check(self, client) -> None:
        """Refuse to wait for workers that never go on."""
        try:
            workers = client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError, RuntimeError):
            return  # the next round reconnects
        if not workers:
            with suppress(Exception):  # the terminal's line only
                client.log_event(TOPIC, "no worker: waiting for one")
        elif all(one["status"] == "paused" for one in workers.values()):
            address, one = next(iter(workers.items()))
            raise ClusterError(
                f"worker {address} is paused, and so are all others: their networks take most of "
                f"their memory limit ({_gigabytes(one['memory_limit'])}): {MORE_MEMORY}"
            )

    def _explained(self, client, error: Exception) -> Exception:
        from distributed.scheduler import KilledWorker

        if "CUDA device" in str(error):
            return ClusterError(
                f"the runner computes on a GPU and a worker has none ({error}): give all workers "
                "one, or run with CUDA_VISIBLE_DEVICES= in the runner's environment"
            )
        if not isinstance(error, KilledWorker):
            return error
        lost, tries = error.last_worker, error.allowed_failures + 1
        limit = _gigabytes(lost.memory_limit)
        events = client.get_events("worker-restart-memory")
        if any(event["worker"] == lost.address for _, event in events):
            why = f"exceeded its memory limit ({limit})"
        else:
            why = f"died (killed, or out of memory; its limit is {limit})"
        return ClusterError(
            f"worker {lost.address} {why} at the same part, as {tries - 1} workers before: "
            f"{MORE_MEMORY}"
        )


MORE_MEMORY = (
    "give each worker more memory (--worker-memory, or dask worker --memory-limit) or run fewer"
)


class _Lost(Exception):
    """A result that must be computed again."""


def _gigabytes(limit: float) -> str:
    return f"{limit / 1e9:.1f} GB" if limit else "none"


def _be_quiet() -> None:
    """Dask's warnings would become part of a page."""
    import dask

    for name in logging.root.manager.loggerDict:
        if name.split(".")[0] == "distributed":  # each has a level of its own
            logging.getLogger(name).setLevel(logging.CRITICAL)
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})


def _pickled(value: object) -> bytes:
    with suppress(pickle.PicklingError, AttributeError, TypeError):
        if b"__main__" not in (packed := pickle.dumps(value)):
            return packed
    import cloudpickle  # functions of a notebook

    return cloudpickle.dumps(value)


def _name(work: Callable) -> str:
    """The innermost function of partial functions."""
    while isinstance(work, partial):
        inner = [each for each in work.args if callable(each) and hasattr(each, "__name__")]
        inner += [each for each in work.args if isinstance(each, partial)]
        work = inner[0] if inner else work.func
    return work.__name__.strip("_")


def _tell(client, what: str, done: int, total: int, workers: int) -> None:
    with suppress(Exception):  # the terminal's line only
        text = f"{done} of {total} {what or 'parts'}"
        client.log_event(TOPIC, f"{text}, {_counted(workers)}")


_connections: dict[str, Cluster] = {}


def current() -> Cluster | None:
    """The cluster of this process, if it has one and is not itself a worker of it."""
    text = os.environ.get(SETTING)
    if not text or _inside:
        return None
    if text not in _connections:
        given = json.loads(text)
        _connections[text] = Cluster(Setup(**given | {"versions": tuple(given["versions"])}))
    return _connections[text]


@contextmanager
def connected(address: str, say: Callable[[str], None] = print) -> Iterator[Setup]:
    """Inside, this process and those that it starts use the cluster at this address.

    Waits for its first worker, and refuses workers with another version of packages or code.
    """
    folder = ROOT / "data"
    folder.mkdir(exist_ok=True)
    probe = folder / ".cluster"  # a worker that reads the same there shares the folder
    if not probe.exists():
        write_text(probe, uuid.uuid4().hex)
    setup = Setup(address, False, str(probe), probe.read_text(), CODE, own_versions())
    setup = replace(setup, shared=_checked(setup, say))
    before = os.environ.get(SETTING)
    os.environ[SETTING] = json.dumps(asdict(setup))
    try:
        yield setup
    finally:
        if used := _connections.pop(os.environ.pop(SETTING), None):
            used.close()
        if before is not None:
            os.environ[SETTING] = before


def _checked(setup: Setup, say: Callable[[str], None]) -> bool:
    """Whether all workers see the folder, once there are workers and each of them can be used."""
    from distributed import Client

    _be_quiet()
    try:
        with Client(setup.address, timeout=5, set_as_default=False) as client:
            while not (found := _looked(client, setup)):
                say(f"waiting for a worker (dask worker {setup.address} --nthreads 1) …")
                client.wait_for_workers(1)
            dashboard = client.dashboard_link
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        remedy = "start one there (dask scheduler), or correct the address"
        if setup.address.startswith("tls"):
            remedy += "; certificates belong into Dask's configuration, distributed.comm.tls"
        raise ClusterError(f"no Dask scheduler answers at {setup.address}: {remedy}") from error
    for worker, (problem, _, _) in found.items():
        if problem:
            raise ClusterError(f"worker {worker} {problem}")
    shared = all(sees for _, sees, _ in found.values())
    text = f"Dask: {_counted(len(found))} at {setup.address}, dashboard {dashboard}"
    say(text + ("" if shared else ", no shared folder"))
    if len(kinds := {kind for _, _, kind in found.values()}) > 1:
        say(f"  CPUs differ ({', '.join(sorted(kinds))}): so may the last bits of results")
    return shared


def _looked(client, setup: Setup) -> dict[str, tuple[str, bool, str]]:
    """What `_look` finds on each worker that is still there."""
    found = client.run(_look, setup, on_error="return")
    for worker, one in found.items():
        if isinstance(one, ModuleNotFoundError):
            raise ClusterError(
                f"worker {worker} cannot import {one.name}: start the scheduler and all workers "
                "in this repository's environment"
            ) from one
        if isinstance(one, Exception) and not isinstance(one, OSError):  # OSError: it is gone
            raise ClusterError(f"worker {worker} fails: {one!r}") from one
    return {worker: one for worker, one in found.items() if not isinstance(one, OSError)}


def _counted(workers: int) -> str:
    return f"{workers} worker{'s' * (workers != 1)}"


@contextmanager
def watched(setup: Setup, show: Callable[[str], None]) -> Iterator[None]:
    """Inside, `show` gets a line whenever a job of any process on this cluster ends."""
    from distributed import Client

    try:
        client = Client(setup.address, timeout=10, set_as_default=False)
    except (OSError, TimeoutError):
        yield  # the jobs wait for the scheduler, and say so if it stays away
        return
    try:
        client.subscribe_topic(TOPIC, lambda event: show(event[1]))
        yield
    finally:
        with suppress(OSError, TimeoutError):
            client.close(timeout=2)


@contextmanager
def local(count: int, memory: float | None = None) -> "Iterator[LocalCluster]":
    """A cluster of `count` processes of this machine, each limited to `memory` bytes (default: its
    share of the free memory).

    Connections are encrypted: on plain TCP every user of the machine could send it code.
    """
    import dask
    from distributed import LocalCluster
    from distributed.security import Security

    limit = int(memory or 0.9 * available() / count) or "auto"
    security = Security.temporary()
    with (
        dask.config.set(QUIET_WORKERS),
        tempfile.TemporaryDirectory(prefix="ohlora-dask-") as folder,
        _environment(security),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=limit,
            protocol="tls://",
            security=security,
            host="127.0.0.1",
            dashboard_address=f"127.0.0.1:{_free_port(DASHBOARD_PORT)}",
            local_directory=folder,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


@contextmanager
def _environment(security) -> Iterator[None]:
    """Connections that this process and those that it starts open inside use the certificates."""
    import dask
    import distributed  # noqa: F401  imported inside, it would lose its defaults at the end

    given = {
        "ca-file": security.tls_ca_file,
        "client.cert": security.tls_client_cert,
        "client.key": security.tls_client_key,
    }
    given = {f"distributed.comm.tls.{key}": value for key, value in given.items()}
    names = {f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": key for key in given}
    os.environ |= {name: given[key] for name, key in names.items()}
    try:
        with dask.config.set(given):
            yield
    finally:
        for name in names:
            os.environ.pop(name, None)


def _free_port(wanted: int) -> int:
    """This port, or 0 (any) if it is in use."""
    import socket

    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
    return wanted
