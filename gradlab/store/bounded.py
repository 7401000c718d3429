"""Stands in `gradlab.config.bounded`, which config, engine and store may all import."""

from gradlab.config.bounded import UnreadableFileError as UnreadableFileError
from gradlab.config.bounded import read_bounded as read_bounded
