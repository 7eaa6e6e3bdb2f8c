"""What it costs to start the program: CPU of `auditor --version`, and of a Python that does nothing, the least of some.

python -m benchmarks.start
"""

import sys

from benchmarks.cost import adopt_orphans, measured

TIMES = 10


def main() -> None:
    """Measure, and print."""
    adopt_orphans()
    for name, arguments in (("python -c pass", ["-c", "pass"]), ("auditor --version", ["-m", "auditor", "--version"])):
        costs = [measured([sys.executable, *arguments])[0] for _ in range(TIMES)]
        least, middle = min(cost.cpu for cost in costs), sorted(cost.cpu for cost in costs)[TIMES // 2]
        print(f"{name}: {least:.2f} s CPU at least, {middle:.2f} s in the middle of {TIMES}")


if __name__ == "__main__":
    main()
