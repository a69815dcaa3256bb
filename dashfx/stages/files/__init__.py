"""Files that a run hands back, stage by stage: int8, complete ones for raw rows, and all that tells of the run."""
