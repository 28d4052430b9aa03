"""Starts, watches and stops the engines that a notebook runs on."""
