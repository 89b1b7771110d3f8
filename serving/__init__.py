"""The read path: live index, epochs, node loop, HTTP API, client and console. Knows nothing of training."""
