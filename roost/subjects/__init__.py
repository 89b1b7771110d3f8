"""The subjects of this release: whether their versions replace each other, and how a schema registry holds them."""
