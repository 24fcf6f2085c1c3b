"""``python -m edge`` is the ``overflight`` command."""

import sys

from edge.cli import main

sys.exit(main())
