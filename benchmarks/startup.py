"""How long it takes to start: the import against torch's own, and the command without torch.

Bounds: `import convarium`, the rooms' public names included, at most 0.3 s beyond `import torch`;
`convarium --help` under 0.4 s; `convarium list` under 0.5 s; each network of the catalogue built
without memory (torch's meta device) under 0.5 s.

Run: python benchmarks/startup.py [ROUNDS]
"""

from __future__ import annotations

import subprocess
import sys

from harness import alternate, ratio, seconds, summary, write

PROGRAMS = {
    "python": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import convarium": ["-c", "import convarium"],
    "import convarium, create": ["-c", "import convarium; convarium.create; convarium.open_run"],
    "convarium --help": ["-m", "convarium", "--help"],
    "convarium list": ["-m", "convarium", "list"],
}

BOUNDS = {
    "seconds_beyond_import_torch": 0.3,
    "convarium --help": 0.4,
    "convarium list": 0.5,
    "slowest build": 0.5,
}


def start(arguments: list[str]) -> None:
    """One process, from start to end."""
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def slowest_build() -> dict[str, object]:
    """The network that takes longest to build on the meta device, best of three."""
    import torch

    import convarium

    def build(name: str) -> None:
        with torch.device("meta"):
            convarium.create(name)

    names = convarium.list_models()
    taken = {name: min(seconds(lambda n=name: build(n)) for _ in range(3)) for name in names}
    slowest = max(taken, key=taken.__getitem__)
    return {"networks": len(names), "slowest": slowest, "seconds": taken[slowest]}


def main(rounds: int) -> int:
    """Time every program in turns, write the result, and say whether the bounds hold."""
    calls = {name: lambda a=arguments: start(a) for name, arguments in PROGRAMS.items()}
    times = alternate(calls, rounds)
    medians = {name: summary(values) for name, values in times.items()}
    torch, ours = times["import torch"], times["import convarium, create"]
    beyond = summary([one - two for one, two in zip(ours, torch, strict=True)])["median"]
    build = slowest_build()
    measured = {
        "seconds_beyond_import_torch": beyond,
        "convarium --help": medians["convarium --help"]["median"],
        "convarium list": medians["convarium list"]["median"],
        "slowest build": build["seconds"],
    }
    result = {
        "seconds": medians,
        "ratio_to_import_torch": ratio(ours, torch),
        "seconds_beyond_import_torch": beyond,
        "build_on_meta": build,
        "bounds": BOUNDS,
        "holds": all(measured[name] <= bound for name, bound in BOUNDS.items()),
    }
    path = write("startup", result)
    for name, row in medians.items():
        print(f"{name:<26} {row['median']:6.3f} s (n = {row['n']})")
    print(f"slowest of {build['networks']} builds: {build['slowest']}, {build['seconds']:.3f} s")
    print(f"beyond import torch: {beyond:.3f} s; bounds hold: {result['holds']}; {path}")
    return 0 if result["holds"] else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
