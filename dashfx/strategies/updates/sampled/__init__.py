"""Updates that draw: candidates or whole networks are sampled at each step, and alphas learn from what came of them."""
