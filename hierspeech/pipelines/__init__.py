"""Pipelines: trained models composed into what a user asks for."""
