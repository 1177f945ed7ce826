"""The parts of `explain.audit`: groups, regions, places, and what may be claimed of them."""
