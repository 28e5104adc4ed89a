"""A speaker encoder of our own: a judge of voices for training, never for evaluation."""
