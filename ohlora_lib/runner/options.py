"""What `./run_all.sh` understands. Standard library only: it is read before .venv exists."""

import argparse
from typing import NoReturn

from ohlora_lib.store import ROOT

SCALES = ("smoke", "quick", "paper")
DEFAULT_SYSTEM = "ohlora_v3"
EXAMPLES = """examples:
  ./run_all.sh                                 the default system at quick scale
  ./run_all.sh ohlora_v3 --scale smoke         does it work here? (2 minutes)
  ./run_all.sh --only 01_generate --force      one stage anew
  ./run_all.sh --list                          systems and their stages
  ./run_all.sh --test                          the test suite
"""


def systems() -> list[str]:
    """The names of the pipelines that are there."""
    return sorted(path.stem for path in (ROOT / "pipelines").glob("*.yaml"))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    told = _Parser(
        prog="./run_all.sh",
        description="Run a pipeline of notebooks and write its reports.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = told.add_argument
    add("system", nargs="?", metavar="SYSTEM", help=f"one of: {', '.join(systems())}")
    add("--scale", choices=SCALES, default="quick", help="how large (default: quick)")
    add("--from", dest="start", metavar="STAGE", help="start at this stage")
    add("--only", metavar="STAGE", help="this stage and no other")
    add("--force", action="store_true", help="run anew what is up to date or half done, too")
    add("--with-code", action="store_true", help="also write pages that show the notebooks' code")
    add("--dry-run", action="store_true", help="check everything, say what would run, run nothing")
    add("--index", action="store_true", help="rewrite reports/README.md and the READMEs' results")
    add("--list", action="store_true", help="systems and their stages")
    add("--test", action="store_true", help="run the tests (no other option goes with it)")
    return told


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse and check what can be checked before anything is installed."""
    told = parser()
    options = told.parse_args(arguments)
    if options.test and len(arguments) > 1:
        told.error("--test goes with no other option")
    if options.start and options.only:
        told.error("--from and --only exclude each other")
    if options.system is None:
        options.system = DEFAULT_SYSTEM
    elif options.system not in systems():
        told.error(f"there is no system {options.system!r}: choose from {', '.join(systems())}")
    return options
