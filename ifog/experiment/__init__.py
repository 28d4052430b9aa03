"""Driving a method on a problem."""

from .asynchronous import Asynchronous as Asynchronous
