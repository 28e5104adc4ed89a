"""Text -> semantic tokens -> acoustic tokens -> speech: the discrete-token way (SPEAR-TTS, Kharitonov et al. 2023)."""
