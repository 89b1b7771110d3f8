"""The HTTP face of the console: routes, templates, and what keeps a foreign page from sending commands."""
