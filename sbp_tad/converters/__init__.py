"""Published checkpoints in: the names and shapes of other code bases, one file each."""
