"""The contracts between processes. If two sides disagreed on anything in here, data would be silently wrong."""
