"""Start-up time of `clearsight --help` and `import clearsight`.

    python benchmarks/startup.py

Times are of whole processes after one warm-up; the bare interpreter is measured in the same run.
"""

from __future__ import annotations

import sys

from measured import machine, spread, timed

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "clearsight --help": [sys.executable, "-m", "clearsight", "--help"],
    "import clearsight": [sys.executable, "-c", "import clearsight"],
    "clearsight train --help": [sys.executable, "-m", "clearsight", "train", "--help"],
}


def main() -> None:
    print(machine())
    for name, words in COMMANDS.items():
        timed(words)
        print(f"{name}: {spread([timed(words).seconds for _ in range(20)], 3)} s")
    loaded = timed([sys.executable, "-c", "import sys, clearsight; print('torch' in sys.modules)"]).output.strip()
    print(f"import clearsight loads torch: {loaded}")


if __name__ == "__main__":
    main()
