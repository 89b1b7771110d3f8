"""A simulated world, the paper's experiments and the benchmarks. Never imported by the product's own paths."""
