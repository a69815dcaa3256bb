"""Neural predictors: small networks on the features of genomes, several of them trained at once."""
