"""Black-box optimisers that ask and tell, and spaces of genomes. Knows no network; imports facts and config."""
