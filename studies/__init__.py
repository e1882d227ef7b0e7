"""Runs many experiments through DVC's queue and reads them back as frames."""
