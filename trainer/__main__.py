"""``python -m trainer`` is ``overflight-train``."""

import sys

from trainer.cli import main

sys.exit(main())
