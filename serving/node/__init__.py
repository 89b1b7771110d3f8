"""The node: follows the topics, keeps one index a bundle, flips epochs, reports. Answers nothing itself; see `serving.query`."""
