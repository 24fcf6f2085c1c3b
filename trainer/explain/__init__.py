"""Shows what in a picture a network's decision rests on."""

from trainer.explain.explain import ExplainError, explain
from trainer.explain.gradcam import GradCam
from trainer.explain.subject import Subject, open_subject

__all__ = ["ExplainError", "GradCam", "Subject", "explain", "open_subject"]
