"""Black-box optimisers that ask and tell, spaces of genomes, and tables of genotypes. Knows no strategy and no run."""
