"""Programs that are written or copied into a run's folder and run there without dashfx."""
