"""Controllers: distributions over genomes that are drawn from, and that move towards what did well."""
