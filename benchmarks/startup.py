"""How long it takes to start: the import against torch's own, and the command without torch.

Bounds: `import convarium`, the rooms' public names included, at most 0.3 s beyond `import torch`;
`convarium --help` under 0.4 s.

Run: python benchmarks/startup.py [ROUNDS]
"""

from __future__ import annotations

import subprocess
import sys

from harness import alternate, ratio, summary, write

PROGRAMS = {
    "python": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import convarium": ["-c", "import convarium"],
    "import convarium, create": ["-c", "import convarium; convarium.create; convarium.open_run"],
    "convarium --help": ["-m", "convarium", "--help"],
    "convarium list": ["-m", "convarium", "list"],
}


def start(arguments: list[str]) -> None:
    """One process, from start to end."""
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def main(rounds: int) -> int:
    """Time every program in turns, write the result, and say whether the bounds hold."""
    calls = {name: lambda a=arguments: start(a) for name, arguments in PROGRAMS.items()}
    times = alternate(calls, rounds)
    medians = {name: summary(values) for name, values in times.items()}
    torch, ours = times["import torch"], times["import convarium, create"]
    beyond = summary([one - two for one, two in zip(ours, torch, strict=True)])["median"]
    help_seconds = medians["convarium --help"]["median"]
    result = {
        "seconds": medians,
        "ratio_to_import_torch": ratio(ours, torch),
        "seconds_beyond_import_torch": beyond,
        "bounds": {"seconds_beyond_import_torch": 0.3, "convarium --help": 0.4},
        "holds": beyond <= 0.3 and help_seconds < 0.4,
    }
    path = write("startup", result)
    for name, row in medians.items():
        print(f"{name:<26} {row['median']:6.3f} s (n = {row['n']})")
    print(f"beyond import torch: {beyond:.3f} s; bounds hold: {result['holds']}; {path}")
    return 0 if result["holds"] else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
