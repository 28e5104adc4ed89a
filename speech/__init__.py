"""What the models share: audio, text, semantic encoders, modules, data, configuration, checkpoints, the training loop."""
