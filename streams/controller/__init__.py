"""The rollout controller: answers commands, takes bundles through their stages, and owns their topics."""
