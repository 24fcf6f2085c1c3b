"""Shows what in a picture a network's decision rests on."""

from trainer.explain.explain import explain
from trainer.explain.gradcam import ExplainError, GradCam
from trainer.explain.subject import Subject, open_subject

__all__ = ["ExplainError", "GradCam", "Subject", "explain", "open_subject"]
