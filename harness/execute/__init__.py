"""Starts, watches, kills and replaces the processes that measure and judge."""
