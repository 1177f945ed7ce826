"""The command: words and exit codes, one file a verb."""

from convarium.cli.command import VERBS, main

__all__ = ["VERBS", "main"]
