"""From corpora to what the recipes read: one stage a file."""
