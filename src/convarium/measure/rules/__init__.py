"""Which inputs each operation lets a position depend on: the rules of the receptive field."""
