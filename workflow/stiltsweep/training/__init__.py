"""Training: what happens in which update, the loop, its state on disk, and the checkpoint it ends in."""
