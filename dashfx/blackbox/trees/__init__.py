"""Tree searches: the genomes are leaves of a tree, and a bound on what lies below a branch says where to look next."""
