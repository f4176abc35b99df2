"""A repository in miniature: the library, a two-stage pipeline and its two notebooks."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]

PARAMETERS = """from ohlora_lib.pages.parameters import Int
out: str = "data/notebooks/{name}"
seed: int = 1
n: Int(1, 100) = 5
"""
MAKE = [
    "# 01 · Which numbers come out?",
    ("parameters", PARAMETERS.format(name="make")),
    "from ohlora_lib.pages import end, finding, say, show, start\n"
    "import numpy as np, pandas as pd, sys, time, os\n"
    "from matplotlib import pyplot\n"
    "folder = start(globals())",
    "from pathlib import Path\nfrom ohlora_lib.compute import jobs\n"
    "def work(k, path):\n"
    "    print(k, file=open('work.log', 'a'))\n"
    "    while k == 2 and os.path.exists('wait'):\n"
    "        time.sleep(0.05)\n"
    "    path.write_text(str(k * seed))\n"
    "shards = [jobs.Job(folder / 'shards' / f'{k}.txt', k) for k in range(n)]\n"
    "files = jobs.run_jobs(work, shards, 'numbers')\n"
    "print('made', len(files), 'numbers')",
    "values = pd.DataFrame({'k': range(n)})\n"
    "values['value'] = [float(file.read_text()) for file in files]\n"
    "from ohlora_lib.store.tables import write_table\n"
    "write_table(values, folder / 'numbers.csv')\nvalues.head(3)",
    "figure, axes = pyplot.subplots(figsize=(4, 2.5))\naxes.plot(values.k, values.value)\n"
    "axes.set(xlabel='k', ylabel='value', title='Numbers')\n"
    "show(figure, 'line', 'A line that rises', 'The numbers')",
    "finding(f'The largest number is {values.value.max():g}.', {'numbers': str(len(values))}, "
    "'line')",
    "end()",
]
READ = [
    "# 02 · What is their sum?",
    ("parameters", PARAMETERS.format(name="read") + 'numbers: str = ""'),
    "from ohlora_lib.pages import end, finding, start\n"
    "from ohlora_lib.store import inside_root\n"
    "from ohlora_lib.store.tables import read_table\n"
    "folder = start(globals())",
    "total = read_table(inside_root(numbers), ['value'])['value'].sum()\n"
    "(folder / 'sum.txt').write_text(str(total));",
    "finding(f'The sum is {total:g}.', {'sum': f'{total:g}'}, '')",
    "end()",
]
PIPELINE = {
    "title": "Demo",
    "summary": "Two stages.",
    "readme": {
        "picture": "01_make",
        "highlights": [
            {
                "label": {"en": "The sum", "ko": "합계"},
                "stage": "02_read",
                "headlines": ["sum"],
                "meter": {"en": "a reader", "ko": "독자"},
                "count": "sum",
            }
        ],
    },
    "stages": [
        {
            "name": "01_make",
            "notebook": "notebooks/make.ipynb",
            "outputs": ["numbers.csv"],
            "parameters": {"seed": 3},
            "scales": {"smoke": {"n": 4}, "quick": {"n": 6}},
        },
        {
            "name": "02_read",
            "notebook": "notebooks/read.ipynb",
            "reads": {"numbers": "{01_make}/numbers.csv"},
            "outputs": ["sum.txt"],
            "publish": {"sum.txt": "sum/total.txt"},
            "parameters": {"n": 1},
        },
    ],
}
README = "# Demo\n" + "".join(
    f"<!-- {block}: written by the runner, not by hand -->\n<!-- {block} end -->\n"
    for block in ("picture", "results")
)


@dataclass(frozen=True)
class Repository:
    """The miniature in a folder of its own."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> "Repository":
        """Copy the library as it is now and write the demo pipeline beside it."""
        ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / "ohlora_lib", root / "ohlora_lib", ignore=ignore)
        for name in ("pyproject.toml", "requirements.txt", "run_all.sh"):
            shutil.copy(ROOT / name, root / name)
        repository = cls(root)
        for name in ("README.md", "README.ko.md"):
            (root / name).write_text(README)
        repository.write_notebook("make", MAKE)
        repository.write_notebook("read", READ)
        repository.write_pipeline(PIPELINE)
        return repository

    def write_notebook(self, name: str, cells: list) -> None:
        """Write a notebook: '# …' is Markdown, a pair is a tagged cell, the rest is code."""
        built = []
        for cell in cells:
            if isinstance(cell, tuple):
                built.append(new_code_cell(cell[1], metadata={"tags": [cell[0]]}))
            elif cell.startswith("# "):
                built.append(new_markdown_cell(cell))
            else:
                built.append(new_code_cell(cell))
        path = self.root / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(new_notebook(cells=built), path)

    def write_pipeline(self, content: dict, name: str = "demo") -> None:
        """Write pipelines/NAME.yaml."""
        path = self.root / "pipelines" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        """Start the runner."""
        return subprocess.Popen(
            [sys.executable, "-m", "ohlora_lib.runner.run", *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.root), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run the runner to its end: exit code and all that it printed."""
        process = self.start(*arguments, **environment)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def start_and_wait_for_shard(self, k: int, *arguments: str) -> subprocess.Popen:
        """Start the runner and return while its notebook is busy with shard `k` (of stage 01)."""
        (self.root / "wait").touch()
        process = self.start(*arguments)
        deadline = time.monotonic() + 120
        while not any(line == str(k) for line in self.work_done()):
            assert time.monotonic() < deadline and process.poll() is None, "it never got there"
            time.sleep(0.05)
        return process

    def work_done(self) -> list[str]:
        """Which shards stage 01 has begun, in order, over all runs so far."""
        log = self.root / "work.log"
        return log.read_text().split() if log.exists() else []

    def set(self, stage: int, **parameters: object) -> None:
        """Change parameters of a stage in the pipeline's file."""
        content = self.pipeline()
        content["stages"][stage]["parameters"].update(parameters)
        self.write_pipeline(content)

    def declare(self, **keys: object) -> None:
        """Add keys to the pipeline's file."""
        self.write_pipeline({**self.pipeline(), **keys})

    def pipeline(self) -> dict:
        """What the pipeline's file says."""
        return yaml.safe_load((self.root / "pipelines" / "demo.yaml").read_text())

    def reports(self) -> dict[str, bytes]:
        """Every page and picture of the system, by name."""
        folder = self.root / "reports" / "demo"
        found = sorted([*folder.rglob("*.md"), *folder.rglob("*.webp")])
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
