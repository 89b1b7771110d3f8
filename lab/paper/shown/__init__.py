"""Results as people read them: beside the paper's printed values, as tables and plots. Computes no figure."""
