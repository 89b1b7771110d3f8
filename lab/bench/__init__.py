"""Benchmarks of the product against what one could pick instead. Every figure names its baseline, measured in the same run."""
