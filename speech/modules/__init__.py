"""Parts that two or more models are built from."""
