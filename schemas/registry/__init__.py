"""Where bundles lie: files below a folder or a URL. Every kind does the same, and knows nothing of what a bundle is."""
