"""The write path: producer SDK, embedder, labeler, user state, rollout controller and their runners."""
