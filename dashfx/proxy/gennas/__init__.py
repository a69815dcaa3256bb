"""GenNAS: how well an untrained network regresses synthetic signals, a score without labels (Li et al. 2021)."""
