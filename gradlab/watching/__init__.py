"""`gradlab.watch`: the recorder of a training loop that is not ours."""

from gradlab.watching.recorder import Recorder, watch

__all__ = ["Recorder", "watch"]
