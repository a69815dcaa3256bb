"""Black-box optimisers, one a file: each asks for genomes and is told what they are worth."""
