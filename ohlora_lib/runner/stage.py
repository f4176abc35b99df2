"""One stage: is it up to date, and if not, run its notebook and publish what it says."""

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256 as hasher
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from ohlora_lib.compute.progress import HEADLESS
from ohlora_lib.runner.notebook import Notebook, code_digest
from ohlora_lib.runner.pipeline import PipelineError, Stage
from ohlora_lib.store import ROOT, StoreError, inside_root
from ohlora_lib.store.manifest import Manifest, Trace, changed
from ohlora_lib.store.workfolder import FINGERPRINT, release

RUNS = ROOT / "data" / "runs.jsonl"
WEIGHTS = ROOT / "data" / "weights"
EMBEDDED = ROOT / "ohlora_lib" / "weights"
RECORDED = ("torch", "numpy", "pandas", "scikit-learn", "opencv-python-headless", "matplotlib")
REPORT_CODE = ("report.py", "templates/ohlora/index.md.j2")


class StageFailed(Exception):
    """A notebook that did not come to its end; the message is what the terminal shows."""


@dataclass(frozen=True)
class Basis:
    """All that a stage rests on."""

    notebook: str
    code: str
    inputs: dict[str, Trace]

    @classmethod
    def of(cls, stage: Stage) -> "Basis":
        """Look at it as it is now; every input must be there."""
        inputs = {}
        for path in stage.reads.values():
            if not (ROOT / path).exists():
                raise PipelineError(missing_input(stage, path))
        for path in [*stage.reads.values(), *named(stage)]:
            inputs[path] = Trace.of(ROOT / path)
        source = Notebook.read(stage.notebook)
        return cls(source.digest, code_digest(source), inputs)

    def fingerprint(self, stage: Stage) -> str:
        """One digest of it all, parameters included."""
        digests = {path: trace.digest for path, trace in self.inputs.items()}
        told = json.dumps([stage.given, self.notebook, self.code, digests], sort_keys=True)
        return hasher(told.encode()).hexdigest()


def named(stage: Stage) -> list[str]:
    """What the stage's parameters name: files and folders of the repository, and weights."""
    words = [word for word in stage.parameters.values() if isinstance(word, str)]
    found = _weights(stage, [word for word in words if "/" not in word])
    for word in words:
        with suppress(StoreError):  # a path that leads outside
            path = inside_root(word)
            # A folder around the stage's own is no input; the empty word would be the repository.
            if not (ROOT / stage.out).is_relative_to(path):
                found += _first([path])
    return [_name(path) for path in found]


def _weights(stage: Stage, words: list[str]) -> list[Path]:
    """The files that `checkpoints.load` takes for these words, where they name weights."""
    published = {}
    if WEIGHTS.exists():
        from ohlora_lib.checkpoints import CHECKPOINTS
        from ohlora_lib.runner import (
            needs,  # it knows all networks: too slow to import without need
        )

        published = {name: CHECKPOINTS[name].parts for name in needs.named_checkpoints((stage,))}
    found = []
    for word in dict.fromkeys([*words, *published]):
        ours = _first([folder / f"{word}.safetensors" for folder in (WEIGHTS, EMBEDDED)])
        parts = [_first([WEIGHTS / file for file in p.files]) for p in published.get(word, ())]
        found += ours or [path for part in parts for path in part]
    return found


def _first(paths: list[Path]) -> list[Path]:
    """The first of the paths that is there, if any is."""
    for path in paths:
        with suppress(OSError):  # a word too long for a name
            if path.exists():
                return [path]
    return []


def missing_input(stage: Stage, path: str) -> str:
    """What to say when something that a stage reads is not there."""
    return (
        f"stage {stage.name!r} reads {path}, which is not there: run the stage that makes it first "
        f"(./run_all.sh {stage.system} --scale {stage.scale})"
    )


def why_run(stage: Stage) -> str | None:
    """Why the stage has to run, in a few words, or None if it is up to date."""
    if not stage.manifest.exists():
        return "not finished yet" if stage.partial.exists() else "first time"
    try:
        made = Manifest.read(stage.manifest)
    except StoreError:
        return "its manifest is damaged"
    if made.parameters != stage.given:
        return "its parameters changed"
    source = Notebook.read(stage.notebook)
    if made.notebook != source.digest:
        return "its notebook changed"
    if made.code != code_digest(source):
        return "library code that it uses changed"
    if name := changed(made.inputs) or changed(made.outputs):
        return f"{name} changed"
    new = [name for name in named(stage) if name not in made.inputs]
    return f"{new[0]} is new" if new else None


def run(stage: Stage, force: bool, with_code: bool) -> str:
    """Run the notebook, check what it left, publish its page; says in a few words what it left."""
    basis = Basis.of(stage)
    if force or stage.manifest.exists():
        release(ROOT / stage.out)  # only unfinished work is gone on with
    stage.manifest.unlink(missing_ok=True)  # from here on the stage counts as unfinished
    began = time.time()
    peak = _execute(stage, basis.fingerprint(stage))
    outputs = _outputs(stage)
    cost = {"seconds": round(time.time() - began, 1), "peak_mb": peak}
    _publish(stage, with_code)
    Manifest(
        stage=stage.name,
        parameters=stage.given,
        notebook=basis.notebook,
        code=basis.code,
        inputs=basis.inputs,
        outputs=outputs | {_name(stage.executed): Trace.of(stage.executed)},
        page=_page_code(),
    ).write(stage.manifest)
    stage.partial.unlink(missing_ok=True)
    _record(stage, cost)
    return ", ".join(_told(Path(name).name, trace) for name, trace in outputs.items())


def refresh_page(stage: Stage, with_code: bool) -> bool:
    """Write a finished stage's page again if it is missing, of another scale, or by older code."""
    made = Manifest.read(stage.manifest)
    page = ROOT / "reports" / stage.system / stage.name
    wanted = [page.with_suffix(".md")]
    if with_code:
        wanted.append(page.with_suffix(".with_code.md"))
    code = _page_code()
    if made.page == code and shows(stage) and all(path.exists() for path in wanted):
        return False
    _publish(stage, with_code)
    replace(made, page=code).write(stage.manifest)
    return True


def shows(stage: Stage) -> bool:
    """Is the page in reports/ this stage's at this scale, with all its pictures?"""
    folder = ROOT / "reports" / stage.system
    try:
        record = json.loads((folder / f"{stage.name}.json").read_text())
        pictures = [folder / figure["file"] for figure in record["figures"].values()]
        return record["scale"] == stage.scale and all(path.exists() for path in pictures)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # no record, or a damaged one


def last_run(stage: Stage) -> dict | None:
    """The record of the stage's last finished run at this scale."""
    found = None
    for line in RUNS.read_text().splitlines() if RUNS.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a line that a power cut left half written
        whose = [record.get(key) for key in ("system", "scale", "stage", "seconds")]
        if whose[:3] == [stage.system, stage.scale, stage.name] and whose[3]:
            found = record
    return found


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _told(name: str, trace: Trace) -> str:
    size = f"{trace.size / 1e6:.1f} MB" if trace.size >= 1e5 else f"{trace.size / 1e3:.1f} kB"
    return f"{name} ({trace.files} files, {size})" if trace.files > 1 else f"{name} ({size})"


@cache
def _page_code() -> str:
    here = Path(__file__).parent
    return hasher(b"".join((here / name).read_bytes() for name in REPORT_CODE)).hexdigest()


def _execute(stage: Stage, fingerprint: str) -> int:
    """Run the notebook into its partial file; returns the kernel's peak memory in MB."""
    os.environ |= {
        HEADLESS: "1",
        FINGERPRINT: fingerprint,
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "0",
        # A person's own IPython start-up files must not change a result.
        "IPYTHONDIR": str(ROOT / "data" / ".ipython"),
    }
    from ohlora_lib.runner.kernels import bear_kernels

    bear_kernels()  # what they need loads while this process loads the rest

    import nbformat

    from ohlora_lib.pages.report import is_finished, told
    from ohlora_lib.runner.engine import execute

    stage.partial.parent.mkdir(parents=True, exist_ok=True)
    problem = execute(stage.notebook, stage.partial, stage.given)
    if problem:
        raise StageFailed(f"{problem}\n  what it had done so far: {_name(stage.partial)}")
    done = nbformat.read(stage.partial, as_version=4)
    if not is_finished(done):
        raise StageFailed(
            f"{_name(stage.notebook)} ran, but its last cell did not call end(): "
            f"its page is not published\n  the notebook: {_name(stage.partial)}"
        )
    return told(done, "end")[-1]["peak_mb"]


def _outputs(stage: Stage) -> dict[str, Trace]:
    outputs = {}
    for name in stage.outputs:
        path = ROOT / stage.out / name
        if not path.exists():
            raise StageFailed(
                f"{_name(stage.notebook)} ran, but did not leave {stage.out}/{name}, "
                f"which pipelines/{stage.system}.yaml expects"
            )
        outputs[f"{stage.out}/{name}"] = Trace.of(path)
    return outputs


def _publish(stage: Stage, with_code: bool) -> None:
    """Write the executed notebook (if there is a new one) and its page, each by rename."""
    import nbformat

    from ohlora_lib.pages import report
    from ohlora_lib.store.atomic import write_text

    source = stage.partial if stage.partial.exists() else stage.executed
    done = report.strip(nbformat.read(source, as_version=4))
    written = nbformat.writes(done)
    try:
        shown = report.Source(stage.system, stage.name, stage.scale, _name(stage.notebook))
        page = report.render(done, shown)
    except report.PageError as error:
        raise StageFailed(f"the page is refused: {error}") from error
    write_text(stage.executed, written)
    report.publish(page, shown, with_code)


def _record(stage: Stage, cost: dict[str, object]) -> None:
    """Append one line to runs.jsonl."""
    versions = {"python": python_version()} | {name: version(name) for name in RECORDED}
    line = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "system": stage.system,
        "scale": stage.scale,
        "stage": stage.name,
        **cost,
        "parameters": stage.given,
        "versions": versions,
    }
    with RUNS.open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
