"""One stage: is it up to date, and if not, run its notebook and publish its page."""

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from fnmatch import fnmatch
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from ohlora_lib.compute.memory import PROCESS_BYTES
from ohlora_lib.compute.progress import HEADLESS
from ohlora_lib.runner.notebook import Notebook, code_digest
from ohlora_lib.runner.pipeline import PipelineError, Stage
from ohlora_lib.store import ROOT, StoreError, inside_root
from ohlora_lib.store.manifest import Manifest, Snapshot, changed
from ohlora_lib.store.work import works
from ohlora_lib.store.workfolder import FINGERPRINT, clear, release

RUNS = ROOT / "data" / "runs.jsonl"
RECORDED = ("torch", "numpy", "pandas", "scikit-learn", "opencv-python-headless", "matplotlib")
LARGE = "3e9"
"""Bytes that a process with the published networks needs."""
PAGES = Path(__file__).resolve().parents[1] / "pages"
PAGE_CODE = ("report.py", "templates/ohlora/index.md.j2")


class StageFailed(Exception):
    """A notebook that did not run to its end; the message is what the terminal shows."""


@dataclass(frozen=True)
class Inputs:
    """What a stage depends on: its notebook, the library code it uses, files and weights."""

    notebook: str
    code: str
    files: dict[str, Snapshot]

    @classmethod
    def of(cls, stage: Stage) -> "Inputs":
        """As they are now; every file that the stage reads must exist."""
        for path in stage.reads.values():
            if not (ROOT / path).exists():
                raise PipelineError(missing_input(stage, path))
        paths = [*stage.reads.values(), *named_files(stage)]
        source = Notebook.read(stage.notebook)
        files = {path: Snapshot.of(ROOT / path) for path in paths}
        return cls(source.digest, code_digest(source), files)

    def fingerprint(self, stage: Stage) -> str:
        """One digest of all of it, parameters included."""
        digests = {path: one.digest for path, one in self.files.items()}
        content = json.dumps([stage.given, self.notebook, self.code, digests], sort_keys=True)
        return sha256(content.encode()).hexdigest()


def named_files(stage: Stage) -> list[str]:
    """Files that the stage's parameters name: paths in the repository, and names of weights."""
    found: list[Path] = []
    if resolver := stage.resolve:
        for word in stage.words:
            found += resolver.files(word)
    for text in stage.parameters.values():
        if not isinstance(text, str):
            continue
        with suppress(StoreError, OSError):  # a path that leads outside; a text too long for one
            path = inside_root(text)
            # A folder around the stage's own is no input; "" would be the whole repository.
            if not (ROOT / stage.out).is_relative_to(path) and path.exists():
                found.append(path)
    return [_name(path) for path in found]


def missing_input(stage: Stage, path: str) -> str:
    """The message for a missing file that the stage reads."""
    return (
        f"stage {stage.name!r} reads {path}, which does not exist: run the stage that makes it "
        f"first (./run_all.sh {stage.system} --scale {stage.scale})"
    )


def why_run(stage: Stage) -> str | None:
    """Why the stage has to run, in a few words, or None if it is up to date."""
    if not stage.manifest.exists():
        return "unfinished" if stage.partial.exists() else "first time"
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
    new = [name for name in named_files(stage) if name not in made.inputs]
    return f"{new[0]} is new" if new else None


def run(stage: Stage, force: bool, with_code: bool) -> str:
    """Run the notebook, check its outputs, publish its page; returns a summary of the outputs."""
    inputs = Inputs.of(stage)
    _prepare(stage, force)
    stage.manifest.unlink(missing_ok=True)  # from here on the stage counts as unfinished
    start = time.time()
    peak = _execute(stage, inputs.fingerprint(stage))
    outputs = _check_outputs(stage)
    cost = {"seconds": round(time.time() - start, 1), "peak_mb": peak}
    _publish(stage, with_code)
    Manifest(
        stage=stage.name,
        parameters=stage.given,
        notebook=inputs.notebook,
        code=inputs.code,
        inputs=inputs.files,
        outputs=outputs | {_name(stage.executed): Snapshot.of(stage.executed)},
        page=_page_code(),
    ).write(stage.manifest)
    stage.partial.unlink(missing_ok=True)
    _record(stage, cost)
    return ", ".join(_summary(Path(name).name, one) for name, one in outputs.items())


def _prepare(stage: Stage, force: bool) -> None:
    """Empty the folder: of a finished stage only intact work with a mark is kept (`store.work`)."""
    folder = ROOT / stage.out
    if not force and not stage.manifest.exists():
        return  # unfinished: it resumes, if its inputs and parameters are the same
    if force or _work_is_damaged(stage):
        release(folder)
    else:
        clear(folder)


def _work_is_damaged(stage: Stage) -> bool:
    """Whether a finished stage's work no longer is what the stage made."""
    try:
        outputs = Manifest.read(stage.manifest).outputs
    except StoreError:
        return True
    owned = {_name(path) for work in works(ROOT / stage.out) for path in work.entries}
    return any(
        changed({name: one})
        for name, one in outputs.items()
        if name in owned or any(path.startswith(f"{name}/") for path in owned)
    )


def recomputed(stage: Stage) -> list[str]:
    """Finished parts of a stage that its next run would compute again, because code has changed."""
    lines = []
    for work in works(ROOT / stage.out):
        if files := work.changed_code:
            more = f" and {len(files) - 3} more" if len(files) > 3 else ""
            took = str(timedelta(seconds=round(work.seconds)))
            names = ", ".join(name.removeprefix("ohlora_lib/") for name in files[:3])
            lines.append(f"{stage.name}: {work.name} (took {took}): {names}{more} changed")
    return lines


def refresh_page(stage: Stage, with_code: bool) -> bool:
    """Rewrite a finished stage's page if it is missing, of another scale, or by older code."""
    made = Manifest.read(stage.manifest)
    page = ROOT / "reports" / stage.system / stage.name
    wanted = [page.with_suffix(".md")]
    if with_code:
        wanted.append(page.with_suffix(".with_code.md"))
    code = _page_code()
    if made.page == code and is_shown(stage) and all(path.exists() for path in wanted):
        return False
    _publish(stage, with_code)
    replace(made, page=code).write(stage.manifest)
    return True


def is_shown(stage: Stage) -> bool:
    """Whether the page in reports/ is this stage's at this scale, with all its files."""
    folder = ROOT / "reports" / stage.system
    if not all((ROOT / "reports" / target).exists() for target in stage.publish.values()):
        return False
    try:
        record = json.loads((folder / f"{stage.name}.json").read_text())
        pictures = [folder / figure["file"] for figure in record["figures"].values()]
        return record["scale"] == stage.scale and all(path.exists() for path in pictures)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # no record, or a damaged one


def last_seconds(stage: Stage) -> float | None:
    """How long the stage's last finished run at this scale took."""
    for line in reversed(RUNS.read_text().splitlines() if RUNS.exists() else []):
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a line cut off by a power failure
        same = [record.get(key) for key in ("system", "scale", "stage")]
        if same == [stage.system, stage.scale, stage.name] and record.get("seconds"):
            return record["seconds"]
    return None


def _name(path: Path) -> str:
    """Relative to the repository where possible."""
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


def _summary(name: str, one: Snapshot) -> str:
    size = f"{one.size / 1e6:.1f} MB" if one.size >= 1e5 else f"{one.size / 1e3:.1f} kB"
    return f"{name} ({one.files} files, {size})" if one.files > 1 else f"{name} ({size})"


@cache
def _page_code() -> str:
    return sha256(b"".join((PAGES / name).read_bytes() for name in PAGE_CODE)).hexdigest()


def _execute(stage: Stage, fingerprint: str) -> int:
    """Run the notebook into its partial file; returns the kernel's peak memory in MB."""
    os.environ |= {
        HEADLESS: "1",
        PROCESS_BYTES: LARGE if stage.weights else "0",
        FINGERPRINT: fingerprint,
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "0",
        # The user's own IPython start-up files must not change a result.
        "IPYTHONDIR": str(ROOT / "data" / ".ipython"),
    }
    from ohlora_lib.runner import kernel_fork

    kernel_fork.install()  # its imports load while this process loads the rest

    import nbformat

    from ohlora_lib.pages.report import emitted, is_finished
    from ohlora_lib.runner.execute import execute

    stage.partial.parent.mkdir(parents=True, exist_ok=True)
    problem = execute(stage.notebook, stage.partial, stage.given)
    if problem:
        raise StageFailed(f"{problem}\n  the notebook up to there: {_name(stage.partial)}")
    done = nbformat.read(stage.partial, as_version=4)
    if not is_finished(done):
        raise StageFailed(
            f"{_name(stage.notebook)} ran, but its last cell did not call end(): "
            f"its page is not published\n  the notebook: {_name(stage.partial)}"
        )
    return emitted(done, "end")[-1]["peak_mb"]


def _check_outputs(stage: Stage) -> dict[str, Snapshot]:
    outputs = {}
    for name in stage.outputs:
        path = ROOT / stage.out / name
        if not path.exists():
            raise StageFailed(
                f"{_name(stage.notebook)} ran, but did not write {stage.out}/{name}, "
                f"which pipelines/{stage.system}.yaml lists among its outputs"
            )
        outputs[f"{stage.out}/{name}"] = Snapshot.of(path)
    return outputs


def _publish(stage: Stage, with_code: bool) -> None:
    """Write the executed notebook (if there is a new one), the files that the stage publishes, and
    its page, each by rename."""
    import nbformat

    from ohlora_lib.pages import report
    from ohlora_lib.store.atomic import write_bytes, write_text

    path = stage.partial if stage.partial.exists() else stage.executed
    done = report.strip(nbformat.read(path, as_version=4))
    written = nbformat.writes(done)
    files = tuple(stage.publish.values())
    name = _name(stage.notebook)
    source = report.Source(stage.system, stage.name, stage.scale, name, stage.title, files)
    try:
        page = report.render(done, source)
    except report.PageError as error:
        raise StageFailed(f"the page cannot be published: {error}") from error
    write_text(stage.executed, written)
    for name, target in stage.publish.items():
        content = ROOT / stage.out / name
        if columns := stage.columns.get(name):
            write_text(ROOT / "reports" / target, _as_csv(content, columns))
        else:
            write_bytes(ROOT / "reports" / target, content.read_bytes())
    report.publish(page, source, with_code)


def _as_csv(path: Path, columns: tuple[str, ...]) -> str:
    """Those columns of a table that match one of the patterns, with four significant digits."""
    from ohlora_lib.store.tables import read_table

    table = read_table(path)
    chosen = [name for name in table if any(fnmatch(name, pattern) for pattern in columns)]
    return table[chosen].to_csv(index=False, float_format="%.4g")


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
