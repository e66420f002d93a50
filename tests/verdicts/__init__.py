"""Our verdicts on perturbed calls beside those of the leaderboard's own package (`python -m tests.verdicts`)."""
