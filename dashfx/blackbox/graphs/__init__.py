"""Genomes as graphs: labelled nodes and edges, what their neighbourhoods tell, and searches that learn from it."""
